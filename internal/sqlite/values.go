package sqlite

import (
	"time"

	"github.com/google/uuid"

	"sluice/internal/batch"
)

// timestampForm has always six digits behind the second, so that the order of
// the texts is that of the times.
const timestampForm = "2006-01-02T15:04:05.000000Z"

var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// value is a travelling value as SQLite gets it.
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
		return time.UnixMicro(epoch.UnixMicro() + batch.Int(v)).UTC().Format(timestampForm)
	case batch.Date:
		return epoch.AddDate(0, 0, int(batch.Int(v))).Format(time.DateOnly)
	case batch.UUID:
		return uuid.UUID(v).String()
	default:
		return string(v)
	}
}
