package storetest

import (
	"testing"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
)

const (
	conflict         = stored + " conflict"
	rejectedConflict = rejected + " conflict"
)

// finding is states that keeps the stored row, and finds conflicts.
func finding(t testing.TB, onConflict batch.OnConflict) *model.Model {
	t.Helper()
	return states(t, onConflict, "type: numeric", "numeric(6,2)")
}

var conflictCases = []struct {
	name string
	test func(*testing.T, Harness)
}{
	{"finds the row of another message with other content", func(t *testing.T, h Harness) {
		for onConflict, word := range map[batch.OnConflict]string{batch.Keep: conflict, batch.Reject: rejectedConflict} {
			m := finding(t, onConflict)
			s := create(t, h, m, twoVersions+"('canary-x', '1.00', 'by hand canary', NULL), ('canary-y', NULL, NULL, NULL)")
			deliver(t, s, m, state{n: 1, account: "a", version: "1.00", text: "a"}, state{n: 2, account: "b", version: "1.00", text: "b"}).says(t, 2, 0, stored, stored)
			h.Exec(t, "UPDATE states SET state = 'changed' WHERE user_id = 'canary-b'")
			o := deliver(t, s, m,
				state{n: 3, account: "a", version: "1.00", text: "other"},
				state{n: 4, account: "a", version: "1.00", text: "a"},   // a redrive renames a message
				state{n: 2, account: "b", version: "1.00", text: "b"},   // the same message
				state{n: 5, account: "x", version: "1.00", text: "new"}, // nothing says whose the stored one is
				state{n: 6, account: "x", version: "1.00", text: "by hand"},
				state{n: 7, account: "y", version: "1.00", text: "y"},
				state{n: 8, account: "c", version: "1.00", text: "c"},
			)
			o.says(t, 1, 0, word, stored, stored, word, stored, word, stored)
			for i, id := range map[int]string{0: "00000000-0000-4000-8000-000000000001", 3: ""} {
				if got := o.verdicts[i].Rejection; got.String() != message.ConflictWith(id).String() {
					t.Errorf("row %d: %s", i, got)
				}
			}
			deliver(t, s, m, state{n: 3, account: "a", version: "1.00", text: "other"}).says(t, 0, 0, word) // again
			wantStates(t, h, "a 1.00 a 1", "b 1.00 changed 2", "c 1.00 c 8", "x 1.00 by hand NULL", "y NULL NULL NULL")
			h.Exec(t, "DROP TABLE states")
		}
	}},
	{"finds the row of another message of the batch", func(t *testing.T, h Harness) {
		for onConflict, word := range map[batch.OnConflict]string{batch.Keep: conflict, batch.Reject: rejectedConflict} {
			m := finding(t, onConflict)
			s := create(t, h, m)
			o := deliver(t, s, m, state{n: 2, account: "a", version: "1.00", text: "a"}, state{n: 1, account: "a", version: "1.00", text: "b"}, state{n: 3, account: "a", version: "1.00", text: "a"})
			o.says(t, 1, 0, stored, word, stored)
			if got := o.verdicts[1].Rejection; got.String() != message.ConflictWith("00000000-0000-4000-8000-000000000002").String() {
				t.Error(got)
			}
			h.Exec(t, "DROP TABLE states")
		}
	}},
	{"finds conflicts beside refused rows", func(t *testing.T, h Harness) {
		for onConflict, word := range map[batch.OnConflict]string{batch.Keep: conflict, batch.Reject: rejectedConflict} {
			m := finding(t, onConflict)
			s := create(t, h, m)
			deliver(t, s, m, state{n: 1, account: "a", version: "1.00", text: "a"}).says(t, 1, 0, stored)
			h.Exec(t, goodState)
			deliver(t, s, m,
				state{n: 2, account: "a", version: "2.00", text: "a"},
				state{n: 3, account: "b", version: "1.00", text: "xx"},
				state{n: 4, account: "a", version: "1.00", text: "xx"}, // its key is stored, so that is what counts
				state{n: 5, account: "c", version: "1.00", text: "c"},
				state{n: 6, account: "c", version: "1.00", text: "d"},
			).says(t, 1, 0, word, rejected, word, stored, word)
			wantStates(t, h, "a 1.00 a 1", "c 1.00 c 5")
			h.Exec(t, "DROP TABLE states")
		}
	}},
	{"a conflict that is rejected stops its group", func(t *testing.T, h Harness) {
		for onConflict, words := range map[batch.OnConflict][]string{
			batch.Keep:   {conflict, stored, stored, conflict, rejected, stopped},
			batch.Reject: {rejectedConflict, stopped, stored, rejectedConflict, rejected, stopped},
		} {
			m := finding(t, onConflict)
			s := create(t, h, m)
			deliver(t, s, m, state{n: 1, account: "a", version: "1.00", text: "a"}).says(t, 1, 0, stored)
			for _, more := range []string{"", goodState} {
				n, all := 3, []state{
					{n: 2, group: 1, account: "a", version: "1.00", text: "b"},
					{n: 3, group: 1, account: "b", version: "1.00", text: "b"},
					{n: 4, group: 2, account: "c", version: "1.00", text: "c"},
				}
				if more != "" {
					h.Exec(t, more)
					h.Exec(t, "DELETE FROM states WHERE user_id <> 'canary-a'")
					n, all = 6, append(all, state{n: 5, group: 2, account: "c", version: "1.00", text: "d"},
						state{n: 6, group: 3, account: "e", version: "1.00", text: "xx"}, state{n: 7, group: 3, account: "f", version: "1.00", text: "f"})
				}
				o := deliver(t, s, m, all...)
				inserted := 1
				if onConflict == batch.Keep {
					inserted = 2
				}
				o.says(t, inserted, 0, words[:n]...)
			}
			want := []string{"a 1.00 a 1", "c 1.00 c 4"}
			if onConflict == batch.Keep {
				want = []string{"a 1.00 a 1", "b 1.00 b 3", "c 1.00 c 4"}
			}
			wantStates(t, h, want...)
			h.Exec(t, "DROP TABLE states")
		}
	}},
}
