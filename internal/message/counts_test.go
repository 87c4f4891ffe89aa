package message_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/message"
)

func TestCounts(t *testing.T) {
	t.Parallel()
	var c message.Counts
	c.Add([]message.Verdict{
		{Outcome: message.Stored},
		{Outcome: message.Stored},
		{Outcome: message.Repeated},
		{Outcome: message.Rejected, Rejection: message.Rejection{Reason: message.ReasonNotIP}},
		{Cause: message.CauseGroup},
	}, message.Tally{Inserted: 1})
	c.Add([]message.Verdict{{Outcome: message.Stored}, {Cause: message.CauseGroup}, {}}, message.Tally{Inserted: 1})
	want := message.Counts{
		Stored: 2, Duplicate: 2,
		Rejected: 1, Reasons: map[message.Reason]int{message.ReasonNotIP: 1},
		Returned: 3, Causes: map[message.Cause]int{message.CauseGroup: 2, message.CauseNone: 1},
	}
	if diff := cmp.Diff(c, want); diff != "" {
		t.Errorf("got(-) want(+):\n%s", diff)
	}
}
