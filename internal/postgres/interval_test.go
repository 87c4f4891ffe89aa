package postgres_test

import (
	"fmt"
	"testing"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/testing/pgtest"
)

// TestIntervals: what the type interval makes of a duration is the same interval in every
// IntervalStyle, to the microsecond and the sign of each part.
func TestIntervals(t *testing.T) {
	t.Parallel()
	m, err := model.Parse("m.yaml", []byte("model: m\ntable: t\nkey: [message_id]\nfields:\n  v: {type: interval}\ncolumns:\n  v: {type: interval, from: v}\n  message_id: {type: uuid, meta: message_id}\n"))
	if err != nil {
		t.Fatal(err)
	}
	r := m.Reader(mask.Unkeyed())
	db := pgtest.New(t)
	const hour = 3_600_000_000
	for _, tt := range []struct {
		text                 string
		months, days, micros int64
	}{
		{"P1Y2M3W4DT5H6M7.089S", 14, 25, 5*hour + 6*60_000_000 + 7_089_000},
		{"-P1Y2M3W4DT5H6M7.089S", -14, -25, -(5*hour + 6*60_000_000 + 7_089_000)},
		{"PT0.000001S", 0, 0, 1},
		{"PT-0.000001S", 0, 0, -1},
		{"-PT0.5S", 0, 0, -500_000},
		{"PT61.5S", 0, 0, 61_500_000},
		{"-PT1M1.5S", 0, 0, -61_500_000},
		{"P1Y-1M", 11, 0, 0},
		{"P-1Y1M", -11, 0, 0},
		{"P1M-1DT1H-1S", 1, -1, hour - 1_000_000},
		{"P0D", 0, 0, 0},
		{"P10000Y", 120_000, 0, 0},
		{"P3660000D", 0, 3_660_000, 0},
		{"PT87840000H", 0, 0, 87_840_000 * hour},
		{"PT316223999999.999999S", 0, 0, 316_223_999_999_999_999},
		{"-PT316223999999.999999S", 0, 0, -316_223_999_999_999_999},
	} {
		b := batch.New(m.Table)
		if v := r.Append(b, 0, 0, &message.Message{ID: "x", Body: fmt.Appendf(nil, `{"v":%q}`, tt.text), HasBody: true, HasSent: true}); !v.IsZero() {
			t.Errorf("%s: %v", tt.text, v)
			continue
		}
		var stored string
		b.Row(0, func(c int, v []byte) {
			if c == 0 {
				stored = string(v)
			}
		})
		for _, style := range []string{"postgres", "postgres_verbose", "sql_standard", "iso_8601"} {
			conn := db.Conn(t)
			if _, err := conn.Exec(t.Context(), "SET intervalstyle = "+style); err != nil {
				t.Fatal(err)
			}
			var months, days, micros int64
			err := conn.QueryRow(t.Context(), `SELECT extract(year FROM v)::bigint * 12 + extract(month FROM v)::bigint, extract(day FROM v)::bigint,
				extract(hour FROM v)::bigint * 3600000000 + extract(minute FROM v)::bigint * 60000000 + extract(microseconds FROM v)::bigint
				FROM (SELECT $1::text::interval AS v) AS s`, stored).Scan(&months, &days, &micros)
			if err != nil || months != tt.months || days != tt.days || micros != tt.micros {
				t.Errorf("%s, stored as %s, with %s: got %d %d %d %v, want %d %d %d", tt.text, stored, style, months, days, micros, err, tt.months, tt.days, tt.micros)
			}
		}
	}
}
