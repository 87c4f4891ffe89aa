package main_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	command "example.com/owner/sluice/cmd/sluice"
)

// TestTable: prose wraps to the width, a table that is too wide becomes a list, and nothing is cut.
func TestTable(t *testing.T) {
	t.Parallel()
	words := "the field is required, and is absent, null or blank\n→ send it, or take required: true out of the model"
	for _, c := range []struct {
		name    string
		columns string
		last    any
		want    string
	}{
		{"without a limit prose has lines of 100 columns", "", command.Prose("every one of these words is here to make a line that is longer than one hundred columns of text, which is too long"), `
 reason   field    meaning
────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
 missing  user_id  every one of these words is here to make a line that is longer than one hundred columns of text,
                   which is too long
`},
		{"prose wraps, with its arrow in front", "60", command.Prose(words), `
 reason   field    meaning
────────────────────────────────────────────────────────────
 missing  user_id  the field is required, and is absent,
                   null or blank
                   → send it, or take required: true out of
                     the model
`},
		{"too narrow for that", "42", command.Prose(words), `
reason   missing
field    user_id
meaning  the field is required, and is
         absent, null or blank
         → send it, or take required: true
           out of the model
`},
		{"a value is never cut", "40", "a-value-that-has-no-blank-in-it-and-is-long", `
reason   missing
field    user_id
meaning  a-value-that-has-no-blank-in-it-and-is-long
`},
		{"COLUMNS without a number does not count", "wide", "a\x1b[2Jb\nc", `
 reason   field    meaning
────────────────────────────
 missing  user_id  a�[2Jb�c
`},
		{"wide characters count twice", "30", "日本語日本", `
 reason   field    meaning
──────────────────────────────
 missing  user_id  日本語日本
`},
		{"and do not fit here", "29", "日本語日本", `
reason   missing
field    user_id
meaning  日本語日本
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			command.PrintTable(&out, map[string]string{"COLUMNS": c.columns}, []string{"reason", "field", "meaning"}, "missing", "user_id", c.last)
			if diff := cmp.Diff(c.want[1:], out.String()); diff != "" {
				t.Errorf("printed (-want +got):\n%s", diff)
			}
		})
	}
}
