package model_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sluice/internal/model"
)

// TestDocumentation holds docs/models.md to the code: its example loads, its tables have the settings
// and types that errors list, and each type of fields its types of columns.
func TestDocumentation(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/models.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(text), "```yaml\n")
	example, _, _ = strings.Cut(example, "```")
	if _, err := model.Parse("docs/models.md", []byte(example)); err != nil {
		t.Errorf("the example: %v", err)
	}
	for _, tt := range []struct{ table, old, new string }{
		{"## The file", "key:", "nosuch:"},
		{"## Fields", "required:", "nosuch:"},
		{"## Columns", "masked:", "nosuch:"},
		{"| type | JSON |", "type: text", "type: nosuch"},
	} {
		_, err := model.Parse("docs/models.md", []byte(strings.Replace(example, tt.old, tt.new, 1)))
		if err == nil {
			t.Fatalf("%s: nosuch loads", tt.table)
		}
		_, list, _ := strings.Cut(strings.Split(err.Error(), "\n")[0], "there are ")
		want := strings.Split(strings.ReplaceAll(list, " and ", ", "), ", ")
		got := firstCells(string(text), tt.table)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: docs/models.md has %q, the code %q", tt.table, got, want)
		}
	}
	for _, kind := range model.FieldTypes() {
		for _, column := range kind.Columns() {
			row := fmt.Sprintf(`(?m)^\| (?:\w+, )*%s\b[^|]*\|[^|]*\|[^|]*\b%s\b`, kind, column)
			if !regexp.MustCompile(row).Match(text) {
				t.Errorf("docs/models.md does not say that %s goes to %s", kind, column)
			}
		}
	}
}

// firstCells returns the names in the first cells of the table after a heading.
func firstCells(document, heading string) (names []string) {
	_, rest, _ := strings.Cut(document, heading)
	_, table, _ := strings.Cut(rest, "|---|")
	table, _, _ = strings.Cut(table, "\n\n")
	for _, row := range regexp.MustCompile(`(?m)^\| ([^|]*) \|`).FindAllStringSubmatch(table, -1) {
		names = append(names, strings.Split(strings.ReplaceAll(row[1], "`", ""), ", ")...)
	}
	return names
}
