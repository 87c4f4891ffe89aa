// Package usual is the function that one writes without sluice: aws-lambda-go's event,
// encoding/json, pgx. The benchmark compares sluice with it, in process and as a built function.
package usual

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

const insert = `INSERT INTO user_logins (user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date, app_version_full, mask_key, sent_at, message_id)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (sent_at, message_id) DO NOTHING`

// Function stores logins on one connection.
type Function struct{ Conn *pgx.Conn }

// Batch stores a batch in one transaction, by a pgx.Batch of single inserts.
func (f Function) Batch(ctx context.Context, event events.SQSEvent) (answer events.SQSEventResponse, err error) {
	tx, err := f.Conn.Begin(ctx)
	if err != nil {
		return answer, err
	}
	defer tx.Rollback(ctx)
	var all pgx.Batch
	for i := range event.Records {
		values, err := row(&event.Records[i])
		if err != nil {
			return answer, err
		}
		all.Queue(insert, values...)
	}
	if err := tx.SendBatch(ctx, &all).Close(); err != nil {
		return answer, err
	}
	return answer, tx.Commit(ctx)
}

// Each stores each message by an insert that commits by itself.
func (f Function) Each(ctx context.Context, event events.SQSEvent) (answer events.SQSEventResponse, err error) {
	for i := range event.Records {
		values, err := row(&event.Records[i])
		if err != nil {
			return answer, err
		}
		if _, err := f.Conn.Exec(ctx, insert, values...); err != nil {
			return answer, err
		}
	}
	return answer, nil
}

type login struct {
	UserID     string  `json:"user_id"`
	AppVersion string  `json:"app_version"`
	DeviceType *string `json:"device_type"`
	IP         string  `json:"ip"`
	Locale     *string `json:"locale"`
	DeviceID   string  `json:"device_id"`
}

// row returns the values of a message's row.
func row(m *events.SQSMessage) ([]any, error) {
	var l login
	if err := json.Unmarshal([]byte(m.Body), &l); err != nil {
		return nil, err
	}
	major, err := strconv.Atoi(strings.SplitN(l.AppVersion, ".", 2)[0])
	if err != nil {
		return nil, err
	}
	millis, err := strconv.ParseInt(m.Attributes["SentTimestamp"], 10, 64)
	if err != nil {
		return nil, err
	}
	id, err := uuid.Parse(m.MessageId)
	if err != nil {
		return nil, err
	}
	sent := time.UnixMilli(millis).UTC()
	return []any{l.UserID, l.DeviceType, digest(l.IP), digest(l.DeviceID), l.Locale, major, sent, l.AppVersion, "sha256", sent, id}, nil
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}
