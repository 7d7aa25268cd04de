#include "base/public_id.h"

#include "base/base64url.h"

_Static_assert(BASE64URL_SIZE(2 * sizeof(struct uuid)) == PUBLIC_ID_SIZE, "two uuids in base64url");

void public_id_format(const struct uuid *user_id, const struct uuid *id,
                      char buffer[static PUBLIC_ID_SIZE])
{
    struct uuid both[2] = {*user_id, *id};
    base64url_encode(both[0].bytes, sizeof(both), buffer);
}

bool public_id_parse(struct text text, struct uuid *ret_user_id, struct uuid *ret_id)
{
    struct uuid both[2];
    size_t len;
    if (!base64url_decode(text, both[0].bytes, sizeof(both), &len) || len != sizeof(both))
        return false;
    *ret_user_id = both[0];
    *ret_id = both[1];
    return true;
}
