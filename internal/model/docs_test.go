package model_test

import (
	"cmp"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
)

// TestDocumentation holds docs/models.md to the code: its example loads, its tables have the settings
// and types that errors list, and each type of fields its settings and its types of columns. Its other
// examples are run by test/models.
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
	blocks := strings.Join(regexp.MustCompile("(?s)```yaml.*?```").FindAllString(string(text), -1), "")
	said := map[string]bool{}
	for _, pattern := range []string{`\b\w+:[ ,}\n]`, `\btype: \w+[ ,}\n]`} {
		for _, use := range regexp.MustCompile(pattern).FindAllString(blocks, -1) {
			said[strings.TrimSuffix(strings.TrimPrefix(use[:len(use)-1], "type: "), ":")] = true
		}
	}
	compare := func(where string, got, want []string) {
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: docs/models.md has %q, the code %q", where, got, want)
		}
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
		compare(tt.table, firstCells(string(text), tt.table), want)
		for _, name := range want {
			if !said[name] {
				t.Errorf("docs/models.md has no example with %s", name)
			}
		}
	}
	var reasons []string
	for _, r := range message.Reasons() {
		reasons = append(reasons, string(r))
	}
	compare("## Reasons", firstCells(string(text), "## Reasons"), reasons)
	var metas []string
	for _, m := range model.Metas() {
		metas = append(metas, string(m))
		for _, column := range model.MetaColumns(m) {
			if !regexp.MustCompile("(?m)^\\| `" + string(m) + "` \\|[^|]*\\b" + column + "\\b").Match(text) {
				t.Errorf("docs/models.md does not say that %s goes to %s", m, column)
			}
		}
	}
	compare("## Metadata", firstCells(string(text), "## Metadata"), metas)
	columns := firstCells(string(text), "## Types of columns")
	compare("## Types of columns", slices.DeleteFunc(columns, func(name string) bool {
		return strings.HasPrefix(name, "T[]") || strings.HasPrefix(name, "any other")
	}), model.ColumnForms())
	for setting, types := range map[string]string{
		"accept": "", "format": "", "one_of": "", "pattern": "", "min": "min`, `max", "min_length": "min_length`, `max_length", "idna": "",
	} {
		var want []string
		for _, kind := range model.FieldTypes() {
			if slices.Contains(model.TypeOptions(kind), setting) {
				want = append(want, string(kind))
			}
		}
		row := regexp.MustCompile("(?m)^\\| `" + cmp.Or(types, setting) + "` \\|[^|]*\\| ([^|]*) \\|$").FindStringSubmatch(string(text))
		if row == nil {
			t.Fatalf("docs/models.md has no row of %s", setting)
		}
		applies, _, _ := strings.Cut(row[1], " in a ")
		compare("the setting "+setting, strings.Split(strings.ReplaceAll(applies, "; ", ", "), ", "), want)
	}
	columnsOf := map[string]string{} // the third cells of the rows of a type
	for line := range strings.Lines(string(text)) {
		if cells := strings.Split(line, "|"); len(cells) > 4 {
			for kind := range strings.SplitSeq(strings.TrimSpace(cells[1]), ", ") {
				columnsOf[kind] += cells[3]
			}
		}
	}
	for _, kind := range model.FieldTypes() {
		for _, column := range kind.Columns() {
			if !regexp.MustCompile(`\b` + column + `\b`).MatchString(columnsOf[string(kind)]) {
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
