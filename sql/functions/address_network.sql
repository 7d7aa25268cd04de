-- What stands for one line to the Internet: the IPv4 address, also of an IPv6 address that maps
-- one, or the /64 of an IPv6 address, of which a subscriber has all. NULL: not an address.
CREATE OR REPLACE FUNCTION address_network(p_address text) RETURNS inet
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    address inet;
BEGIN
    address := p_address::inet;
    IF family(address) = 4 THEN
        RETURN host(address)::inet;
    END IF;
    IF address << '::ffff:0:0/96'::inet THEN
        RETURN '0.0.0.0'::inet + (host(address)::inet - '::ffff:0:0'::inet);
    END IF;
    RETURN network(set_masklen(address, 64));
EXCEPTION WHEN invalid_text_representation THEN
    RETURN NULL;
END
$$;
