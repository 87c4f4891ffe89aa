package check_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/check"
	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/testing/pgtest"
)

// rehearse is a store of a few lines.
type rehearse func(ctx context.Context, b *batch.Batch) (message.Result, error)

// Rehearse implements check.Rehearser.
func (r rehearse) Rehearse(ctx context.Context, b *batch.Batch) (message.Result, error) {
	return r(ctx, b)
}

// storesAll stores a row for each key, and counts the rows of each transaction.
func storesAll(sizes *[]int) rehearse {
	return func(_ context.Context, b *batch.Batch) (message.Result, error) {
		*sizes = append(*sizes, b.Len())
		result := message.Result{Verdicts: make([]message.Verdict, b.Len())}
		for i := range result.Verdicts {
			result.Verdicts[i].Outcome = message.Stored
			if i == 0 || !b.SameKey(i-1, i) {
				result.Tallies.Of(0).Inserted++
			}
		}
		return result, nil
	}
}

// sampled tries bodies, each on a line of its own, and returns the findings as "severity rule: what".
func sampled(t *testing.T, store check.Rehearser, m *model.Model, bodies ...string) (all []string) {
	t.Helper()
	s := check.NewSample(store, m.Set(), mask.Unkeyed(), nil, time.Minute)
	for i, body := range bodies {
		s.Add(t.Context(), i+1, []byte(body))
	}
	f := s.End(t.Context())
	for i := range f {
		all = append(all, fmt.Sprintf("%s %s: %s", f[i].Severity, f[i].Rule, f[i].What))
	}
	if text := fmt.Sprintf("%+v", f); strings.Contains(text, "canary") {
		t.Errorf("a finding has a value: %s", text)
	}
	return all
}

func coupon(n int) string { return fmt.Sprintf(`{"code":"canary-%d","shop":"a"}`, n) }

func TestSample(t *testing.T) {
	t.Parallel()
	m := coupons(t, "text", "text")
	var many, odd []string
	for n := range 2500 {
		many = append(many, coupon(n))
	}
	for n := range 7 {
		odd = append(odd, fmt.Sprintf(`{"code":"canary-%d"}`, n))
	}
	const tried = "bodies would be new rows, tried in transactions that were rolled back"
	down := &fault.Error{Source: fault.Database, Cause: message.CauseTransient, What: "the database is away", Remedy: "wait"}
	for _, tt := range []struct {
		name   string
		bodies []string
		store  check.Rehearser // nil stores all
		want   []string
	}{
		{"no body", nil, nil, []string{"skipped sample: the sample has no body: a file has one on each line"}},
		{"several transactions", many, nil, []string{"ok sample: 2500 of 2500 " + tried}},
		{
			"keys that repeat, in another transaction too", append(many[:1500:1500], many[0], many[1499], many[1499]), nil,
			[]string{"ok sample: 1500 of 1503 " + tried, "warning sample_key: 3 of 1503 bodies have the key of an earlier one: only the first becomes a row; lines 1501, 1502, 1503"},
		},
		{
			"rejected by the model", append(odd, coupon(9), "canary"), nil,
			[]string{
				"ok sample: 1 of 9 " + tried,
				"error sample_rejected: 7 of 9 bodies would be rejected: missing shop: expected a value, found nothing at $.shop; lines 1, 2, 3, 4, 5 and 2 more",
				"error sample_rejected: 1 of 9 bodies would be rejected: not_json: a word without double quotes; line 9",
			},
		},
		{
			"an outage", many, rehearse(func(_ context.Context, b *batch.Batch) (message.Result, error) {
				return message.Result{Verdicts: make([]message.Verdict, b.Len())}, down
			}),
			[]string{
				"ok sample: 0 of 2500 " + tried, "error sample_returned: 1000 of 2500 bodies would be returned, and not for what they carry: the database is away; lines 1, 2, 3, 4, 5 and 995 more",
				"skipped sample: the other 1500 bodies were not tried",
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var sizes []int
			store := tt.store
			if store == nil {
				store = storesAll(&sizes)
			}
			if diff := cmp.Diff(sampled(t, store, m, tt.bodies...), tt.want); diff != "" {
				t.Errorf("findings got(-) want(+):\n%s", diff)
			}
			for _, n := range sizes {
				if n > 1000 {
					t.Errorf("a transaction of %d rows", n)
				}
			}
		})
	}
}

// TestSampleOfUnits: a time that is likely in another unit than the model's is told, and the unit.
func TestSampleOfUnits(t *testing.T) {
	t.Parallel()
	for format, bodies := range map[string]map[string]string{
		"unix":    {"1769860800": "", "0": "", "1.5": "", "-1": "", "17698608000": ""},
		"unix_ms": {"1769860800123": "", "1769860800": "unix", "315532800": "unix", "315532799": "", "17698608": ""},
		"unix_us": {"1769860800123456": "", "1769860800": "unix", "1769860800123": "unix_ms"},
		"unix_ns": {"1769860800123456789": "", "1769860800": "unix", "1769860800123": "unix_ms", "1769860800123456": "unix_us"},
		"iso8601": {`"1970-01-21T12:00:00Z"`: ""},
	} {
		m := parse(t, fmt.Sprintf(`
model: t
table: t
key: [message_id]
fields: {at: {type: timestamp, format: %s}, other: {type: timestamp, format: unix_ms}}
columns:
  at: {type: timestamptz, from: at}
  local: {type: timestamp, from: at}
  other: {type: timestamptz, from: other}
  message_id: {type: uuid, meta: message_id}
`, format))
		for at, other := range bodies {
			want := []string{"ok sample: 1 of 1 bodies would be new rows, tried in transactions that were rolled back"}
			if other != "" {
				want = append(want, "warning sample_unit: in 1 bodies the field at has a time before 1980 or after 2099; with format: "+other+" it would not")
			}
			if diff := cmp.Diff(sampled(t, storesAll(new([]int)), m, `{"at":`+at+`}`), want); diff != "" {
				t.Errorf("%s of %s: findings got(-) want(+):\n%s", at, format, diff)
			}
		}
	}
}

// TestSampleOfManyReasons wants a list that ends.
func TestSampleOfManyReasons(t *testing.T) {
	t.Parallel()
	var bodies []string
	for n := range 60 {
		bodies = append(bodies, coupon(n))
	}
	got := sampled(t, rehearse(func(_ context.Context, b *batch.Batch) (message.Result, error) {
		result := message.Result{Verdicts: make([]message.Verdict, b.Len())}
		for i := range result.Verdicts {
			result.Verdicts[i] = message.Verdict{Outcome: message.Rejected, Rejection: message.Rejection{Reason: message.ReasonRefused, Constraint: fmt.Sprint("c", i)}}
		}
		return result, nil
	}), coupons(t, "text", "text"), bodies...)
	if len(got) != 52 || got[51] != "error sample_rejected: 10 more bodies would not be stored, for other reasons" {
		t.Errorf("got %d findings, the last %s", len(got), got[len(got)-1])
	}
}

// TestSampleInTheTable has the real table's judgement, of batches that are searched in chunks, and
// of a trigger that discards rows.
func TestSampleInTheTable(t *testing.T) {
	t.Parallel()
	m := coupons(t, "text", "text")
	db := pgtest.New(t, m.DDL()...)
	db.Exec(t, "ALTER TABLE coupons ADD n bigserial, ADD CONSTRAINT shops CHECK (shop <> 'bad'); INSERT INTO coupons (code, shop) VALUES ('canary-1', 'a'), ('canary-2', 'a'); "+
		norm("coupons", "IF NEW.shop = 'no' THEN NEW := NULL; END IF"))
	store := open(t, m, db.URL)
	var bodies []string
	for n := range 1200 {
		bodies = append(bodies, coupon(n+1))
	}
	const bad = `{"code":"canary-x","shop":"bad"}`
	bodies[500], bodies[1100] = bad, `{"code":"canary-y","shop":"no"}`
	bodies[600], bodies[1150] = coupon(3), coupon(4)                     // repeat the key of a row, in its transaction and in another one
	bodies[700], bodies[1160] = bad, strings.Replace(bad, "bad", "a", 1) // the key of a row that is refused
	bodies[0] = `{"code":"canary-1","shop":"bad"}`                       // its key is in the table
	want := []string{
		"ok sample: 1193 of 1200 bodies would be new rows, tried in transactions that were rolled back",
		"error sample_rejected: 2 of 1200 bodies would be rejected: refused_by_database SQLSTATE 23514 (check_violation) constraint shops; lines 501, 701",
		"error sample_returned: 1 of 1200 bodies would be returned: the database discards the row; line 1101",
		"warning sample_key: 2 of 1200 bodies have the key of an earlier one: only the first becomes a row; lines 601, 1151",
		"ok sample_present: 2 of 1200 bodies have a key that is in the table already, or that the database finds equal to an earlier one",
	}
	if diff := cmp.Diff(sampled(t, store, m, bodies...), want); diff != "" {
		t.Errorf("findings got(-) want(+):\n%s", diff)
	}
	if n := db.Count(t, "SELECT count(*) FROM coupons"); n != 2 {
		t.Errorf("%d rows, want the 2 that were there", n)
	}
}

// TestSampleOfTakenValues: what is taken shows as that, whether the key or another constraint says so.
func TestSampleOfTakenValues(t *testing.T) {
	t.Parallel()
	const file = `
model: t
table: t
key: [%s]
fields: {code: {type: text, required: true}}
columns:
  code: {type: citext, from: code}
  message_id: {type: uuid, meta: message_id}
`
	const is = "of 3 bodies would be new rows, tried in transactions that were rolled back"
	db := pgtest.NewDatabase(t, "", "CREATE EXTENSION citext", "CREATE TABLE t (code citext NOT NULL UNIQUE, message_id uuid PRIMARY KEY)", "INSERT INTO t VALUES ('canary-b', gen_random_uuid())")
	for key, want := range map[string][]string{
		"code": {"ok sample: 1 " + is, "ok sample_present: 2 of 3 bodies have a key that is in the table already, or that the database finds equal to an earlier one"},
		"message_id": {
			"ok sample: 1 " + is,
			"warning sample_rejected: 2 of 3 bodies would be rejected: refused_by_database SQLSTATE 23505 (unique_violation) constraint t_code_key; lines 2, 3",
		},
	} {
		m := parse(t, fmt.Sprintf(file, key))
		store := open(t, m, db.URL)
		if diff := cmp.Diff(sampled(t, store, m, `{"code":"canary-a"}`, `{"code":"Canary-A"}`, `{"code":"canary-b"}`), want); diff != "" {
			t.Errorf("%s: findings got(-) want(+):\n%s", key, diff)
		}
	}
}
