CREATE TABLE IF NOT EXISTS "orders" (
    "order_id"       uuid NOT NULL,
    "masked_email"   varchar(64),
    "total"          numeric(18,4) NOT NULL,
    "currency"       varchar(3) NOT NULL,
    "item_count"     integer,
    "loyalty_points" bigint,
    "gift"           boolean,
    "placed_at"      timestamptz NOT NULL,
    "deliver_on"     date,
    "session_id"     uuid,
    "lines"          jsonb,
    "mask_key"       varchar(32) NOT NULL,
    "sent_at"        timestamptz NOT NULL,
    PRIMARY KEY ("order_id")
);
