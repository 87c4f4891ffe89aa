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
COMMENT ON COLUMN "orders"."order_id" IS 'order_id: uuid, required';
COMMENT ON COLUMN "orders"."masked_email" IS 'customer_email: email, masked';
COMMENT ON COLUMN "orders"."total" IS 'total: numeric, required';
COMMENT ON COLUMN "orders"."currency" IS 'currency: text, required';
COMMENT ON COLUMN "orders"."item_count" IS 'item_count: integer';
COMMENT ON COLUMN "orders"."loyalty_points" IS 'loyalty_points: integer';
COMMENT ON COLUMN "orders"."gift" IS 'gift: boolean';
COMMENT ON COLUMN "orders"."placed_at" IS 'placed_at: timestamp, required';
COMMENT ON COLUMN "orders"."deliver_on" IS 'deliver_on: date';
COMMENT ON COLUMN "orders"."session_id" IS 'session_id: uuid';
COMMENT ON COLUMN "orders"."lines" IS 'lines: json';
COMMENT ON COLUMN "orders"."mask_key" IS 'id of the key that masks';
COMMENT ON COLUMN "orders"."sent_at" IS 'SentTimestamp';
