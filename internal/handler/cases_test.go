package handler_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCases plays the black-box cases of test/cases, and the four that
// are too big to keep there, against every model of logins. `make cases`
// plays the same files through the command line.
func TestCases(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("../../test/cases/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	var cases []testCase
	for _, path := range paths {
		cases = append(cases, readCase(t, path))
	}
	playAll(t, append(cases, bigCases()...))
}

// caseColumns are those that a case of a file names, in its order.
var caseColumns = []string{"user_id", "device_type", "masked_ip", "masked_device_id", "locale", "app_version", "create_date"}

func readCase(t *testing.T, path string) testCase {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Name  string            `json:"name"`
		Why   string            `json:"why"`
		Env   map[string]string `json:"env"`
		Event string            `json:"event"`
		Want  struct {
			Failed []string `json:"failed"`
			Error  bool     `json:"error"`
		} `json:"want"`
		Rows [][]any `json:"rows"`
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if want := strings.TrimSuffix(filepath.Base(path), ".json"); file.Name != want {
		t.Errorf("%s: the case is named %s", path, file.Name)
	}
	c := testCase{name: file.Name, why: file.Why, env: file.Env, event: []byte(file.Event), failed: file.Want.Failed, failure: file.Want.Error}
	for _, cells := range file.Rows {
		if len(cells) != len(caseColumns) {
			t.Fatalf("%s: a row of %d columns", path, len(cells))
		}
		r := row{}
		for i, column := range caseColumns {
			r[column] = cells[i]
		}
		c.rows = append(c.rows, r)
	}
	return c
}

// bigCases are the cases whose events are large.
func bigCases() []testCase {
	many := testCase{name: "db-refuses-many", why: "any number of culprits"}
	var records []string
	for n := 1; n <= 300; n++ {
		locale := "en"
		if n%3 == 0 {
			locale = "xx"
			many.failed = append(many.failed, id(n))
		} else {
			many.rows = append(many.rows, stored(n, "user_id", fmt.Sprintf("u%d", n), "locale", "en"))
		}
		records = append(records, record(n, body("user_id", fmt.Sprintf(`"u%d"`, n), "locale", quote(locale))))
	}
	many.event = event(records...)

	large := testCase{name: "three-thousand", why: "a large batch, one bad at the end", failed: ids(9999)}
	records = nil
	for n := 1; n <= 3000; n++ {
		records = append(records, record(n, body("user_id", fmt.Sprintf(`"u-%d"`, n))))
		large.rows = append(large.rows, stored(n, "user_id", fmt.Sprintf("u-%d", n)))
	}
	large.event = event(append(records, record(9999, body("user_id", "null")))...)

	return append(alone(
		bad("huge-value", body("device_type", quote(repeat("y", 1_000_000)))),
		bad("deep-unknown", body("z", repeat("[", 20_000)+repeat("]", 20_000))),
	), many, large)
}
