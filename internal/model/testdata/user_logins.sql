CREATE TABLE IF NOT EXISTS "user_logins" (
    "user_id"          varchar(128) NOT NULL,
    "device_type"      varchar(32),
    "masked_ip"        varchar(256),
    "masked_device_id" varchar(256),
    "locale"           varchar(32),
    "app_version"      integer,
    "create_date"      date NOT NULL,
    "app_version_full" varchar(64),
    "mask_key"         varchar(32) NOT NULL,
    "sent_at"          timestamptz NOT NULL,
    "message_id"       uuid NOT NULL,
    PRIMARY KEY ("sent_at", "message_id")
);
COMMENT ON COLUMN "user_logins"."user_id" IS 'user_id: text, required';
COMMENT ON COLUMN "user_logins"."device_type" IS 'device_type: text';
COMMENT ON COLUMN "user_logins"."masked_ip" IS 'ip: ip, masked';
COMMENT ON COLUMN "user_logins"."masked_device_id" IS 'device_id: text, masked';
COMMENT ON COLUMN "user_logins"."locale" IS 'locale: text';
COMMENT ON COLUMN "user_logins"."app_version" IS 'app_version: version, its major number';
COMMENT ON COLUMN "user_logins"."create_date" IS 'UTC day of SentTimestamp';
COMMENT ON COLUMN "user_logins"."app_version_full" IS 'app_version: version';
COMMENT ON COLUMN "user_logins"."mask_key" IS 'id of the key that masks';
COMMENT ON COLUMN "user_logins"."sent_at" IS 'SentTimestamp';
COMMENT ON COLUMN "user_logins"."message_id" IS 'messageId as a UUID';
