package message_test

import (
	"os"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/message"
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
		why        message.Rejection
		want, also string
	}{
		{message.Rejection{Reason: message.ReasonMissing, Field: "ip"}, "missing ip", message.ReasonMissing.Explain()},
		{message.Rejection{Reason: message.ReasonWrongType, Field: "ip", Detail: "expected a string, found a number"}, "wrong_type ip: expected a string, found a number", ""},
		{message.Rejection{Reason: message.ReasonKeyCase, Field: "ip", Detail: "expected exactly $.ip"}, "key_case ip: expected exactly $.ip", message.ReasonKeyCase.Explain()},
		{message.Rejection{Reason: message.ReasonNotJSON, Byte: 17, Detail: "a colon is missing"}, "not_json at byte 17: a colon is missing", ""},
		{message.Rejection{Reason: message.ReasonNotJSON, Byte: 17}, "not_json at byte 17", message.ReasonNotJSON.Explain()},
		{message.Rejection{Reason: message.ReasonDuplicateKey, Byte: 9, Detail: "in the message attributes"}, "duplicate_key at byte 9: in the message attributes", message.ReasonDuplicateKey.Explain()},
		{message.Rejection{Reason: message.ReasonRefused, SQLState: "23514", Constraint: "c"}, "refused_by_database SQLSTATE 23514 (check_violation) constraint c", ""},
		{message.Rejection{Reason: message.ReasonRefused, SQLState: "23514", Constraint: "c", Detail: "row 3 of lines"}, "refused_by_database row 3 of lines SQLSTATE 23514 (check_violation) constraint c", ""},
		{message.Rejection{Reason: message.ReasonRefused, Constraint: "CHECK", Detail: "row 3 of lines"}, "refused_by_database constraint CHECK: row 3 of lines", message.ReasonRefused.Explain()},
		{message.Rejection{Reason: message.ReasonMissing, Column: "n", Detail: "expected a sequence number"}, "missing column n: expected a sequence number", ""},
		{message.Rejection{Reason: message.ReasonRefused, SQLState: "ZZ001", Column: "v"}, "refused_by_database SQLSTATE ZZ001 column v", ""},
	} {
		if got, also := tt.why.String(), tt.why.Meaning(); got != tt.want || also != tt.also {
			t.Errorf("got %q, %q, want %q, %q", got, also, tt.want, tt.also)
		}
	}
}
