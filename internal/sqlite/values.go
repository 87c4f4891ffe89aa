package sqlite

import (
	"time"

	"github.com/google/uuid"

	"sluice/internal/batch"
)

// timestampForm always has six digits after the second, so that the order of the texts is that of
// the times.
const timestampForm = "2006-01-02T15:04:05.000000Z"

// value converts a value of a batch to one for SQLite.
func value(k batch.Kind, v []byte) any {
	if v == nil {
		return nil
	}
	switch k {
	case batch.Int4, batch.Int8:
		return batch.Int(v)
	case batch.Bool:
		return int64(v[0])
	case batch.Timestamp:
		return batch.Time(k, v).Format(timestampForm)
	case batch.Date:
		return batch.Time(k, v).Format(time.DateOnly)
	case batch.UUID:
		return uuid.UUID(v).String()
	case batch.Text:
		return string(v)
	}
	panic("sqlite: a value of an unknown kind")
}
