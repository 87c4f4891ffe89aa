package message_test

import (
	"os"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice/internal/message"
)

// TestReasons: Reasons lists every constant, in order, and each has an explanation.
func TestReasons(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("rejection.go")
	if err != nil {
		t.Fatal(err)
	}
	var want []message.Reason
	for _, constant := range regexp.MustCompile(`(?m)^\tReason\w+ +Reason = "(\w+)"$`).FindAllSubmatch(source, -1) {
		want = append(want, message.Reason(constant[1]))
	}
	if diff := cmp.Diff(message.Reasons(), want); diff != "" || len(want) < 10 {
		t.Errorf("Reasons (-) and the constants of rejection.go (+):\n%s", diff)
	}
	for _, r := range want {
		if r.Explain() == "" {
			t.Errorf("%s has no explanation", r)
		}
	}
}

func TestRejectionInOneLine(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		why  message.Rejection
		want string
	}{
		{message.Rejection{Reason: message.ReasonMissing, Field: "ip"}, "missing ip"},
		{message.Rejection{Reason: message.ReasonRefused, SQLState: "23514", Constraint: "c"}, "refused_by_database SQLSTATE 23514 (check_violation) constraint c"},
		{message.Rejection{Reason: message.ReasonRefused, SQLState: "ZZ001", Column: "v"}, "refused_by_database SQLSTATE ZZ001 column v"},
	} {
		if got := tt.why.String(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}
