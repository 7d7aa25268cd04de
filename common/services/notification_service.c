#include "services/notification_service.h"

enum error notification_service_receive(struct app *app, struct text body,
                                        enum settlement *ret_settlement)
{
    struct yookassa_notification notification = {.owned = NULL};
    if (!app->yookassa)
        return ERROR_PAYMENTS_NOT_CONFIGURED;
    enum error err = yookassa_notification_parse(body, &notification);
    if (!err && notification.is_refund)
        err = settlement_service_fetch_refund(app, notification.object_id, ret_settlement);
    else if (!err && !notification.is_payment)
        *ret_settlement = SETTLEMENT_IGNORED;
    else if (!err)
        err = settlement_service_fetch_payment(app, notification.object_id, ret_settlement);
    yookassa_notification_done(&notification);
    return err;
}
