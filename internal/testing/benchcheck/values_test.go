package benchcheck_test

import (
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// valuesFile has the checked-in values. Its head describes its form.
const valuesFile = "values.txt"

// accept is the command that writes what was measured into the file.
const accept = "make bench-check UPDATE=1"

// measured is one value of this run.
type measured struct {
	name  string
	value float64
}

// facts are what a section of the file may depend on: a name, and what it is here. "always" is the
// fact of values that depend on nothing.
type facts map[string]string

// entry is one line of the file. It has a section, a value or only text.
type entry struct {
	text      string
	section   []string // what its values depend on, as "go 1.26"; of a value, its section's
	name      string
	value     string
	tolerance string
}

// parse reads the file.
func parse(text string) (all []entry, err error) {
	var section []string
	for line := range strings.Lines(text) {
		e := entry{text: strings.TrimSuffix(line, "\n")}
		words := strings.Fields(line)
		inner, opened := strings.CutPrefix(e.text, "[")
		inner, closed := strings.CutSuffix(inner, "]")
		switch {
		case len(words) == 0 || strings.HasPrefix(e.text, "#"):
		case opened && closed:
			section = strings.Split(inner, ", ")
			e.section = section
		case len(words) != 3 || section == nil:
			return nil, fmt.Errorf("%s: not a name, a value and a tolerance in a section: %s", valuesFile, line)
		default:
			e.section, e.name, e.value, e.tolerance = section, words[0], words[1], words[2]
			if _, err := e.moved(0); err != nil {
				return nil, err
			}
		}
		all = append(all, e)
	}
	return all, nil
}

// moved reports whether a value is further from the entry's than its tolerance, which is a number
// or a percentage.
func (e *entry) moved(to float64) (bool, error) {
	value, err := strconv.ParseFloat(e.value, 64)
	if err != nil {
		return false, fmt.Errorf("%s: %s: %w", valuesFile, e.name, err)
	}
	number, relative := strings.CutSuffix(e.tolerance, "%")
	tolerance, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return false, fmt.Errorf("%s: %s: the tolerance: %w", valuesFile, e.name, err)
	}
	if relative {
		tolerance *= math.Abs(value) / 100
	}
	return math.Abs(to-value) > tolerance+1e-9, nil
}

// elsewhere returns the fact of the entry's section that is another one here, or "".
func (e *entry) elsewhere(f facts) string {
	for _, s := range e.section {
		what, want, _ := strings.Cut(s, " ")
		if f[what] != want {
			return s
		}
	}
	return ""
}

// compare compares values with the file's. It returns a line for each, and what is wrong.
func compare(all []entry, values []measured, f facts) (report, problems []string) {
	known := map[string]bool{}
	for i := range all {
		e := &all[i]
		if e.name == "" {
			continue
		}
		known[e.name] = true
		at := slices.IndexFunc(values, func(m measured) bool { return m.name == e.name })
		said := "not available"
		if at >= 0 {
			said = format(values[at].value)
		}
		verdict := "as checked in"
		moved := false
		if at >= 0 {
			moved, _ = e.moved(values[at].value) // parse has looked for its error
		}
		switch other := e.elsewhere(f); {
		case other != "":
			verdict = "not compared: the checked-in value is for " + other
		case at < 0:
			verdict = "not compared"
		case moved:
			verdict = "MOVED"
			problems = append(problems, fmt.Sprintf("%s: checked in %s, measured %s, tolerance %s. If that is right: %s", e.name, e.value, said, e.tolerance, accept))
		}
		report = append(report, fmt.Sprintf("%-52s %12s %14s   %s", e.name, e.value, said, verdict))
	}
	for _, m := range values {
		if !known[m.name] {
			problems = append(problems, fmt.Sprintf("%s: not checked in, measured %s. To check it in: add a line with its tolerance to %s, and %s", m.name, format(m.value), valuesFile, accept))
		}
	}
	return report, problems
}

// updated returns the file with the values of this run. Comments and tolerances stay. A section whose
// values were all measured is then for what is here.
func updated(all []entry, values []measured, f facts) string {
	var b strings.Builder
	for i := range all {
		e := &all[i]
		switch {
		case e.name != "":
			value := e.value
			if at := slices.IndexFunc(values, func(m measured) bool { return m.name == e.name }); at >= 0 {
				if moved, _ := e.moved(values[at].value); moved {
					value = format(values[at].value)
				}
			}
			fmt.Fprintf(&b, "%-52s %12s %8s\n", e.name, value, e.tolerance)
		case e.section != nil && complete(all[i+1:], values):
			var here []string
			for _, s := range e.section {
				what, _, _ := strings.Cut(s, " ")
				here = append(here, strings.TrimSpace(what+" "+f[what]))
			}
			fmt.Fprintf(&b, "[%s]\n", strings.Join(here, ", "))
		default:
			b.WriteString(e.text + "\n")
		}
	}
	return b.String()
}

// complete reports whether all values of the section that all begins with were measured.
func complete(all []entry, values []measured) bool {
	for i := range all {
		if e := &all[i]; e.name != "" && !slices.ContainsFunc(values, func(m measured) bool { return m.name == e.name }) {
			return false
		} else if e.name == "" && e.section != nil {
			break
		}
	}
	return true
}

// format writes a value as the file has it.
func format(value float64) string {
	return strconv.FormatFloat(math.Round(value*100)/100, 'f', -1, 64)
}

func readValues(t *testing.T) []entry {
	t.Helper()
	text, err := os.ReadFile(valuesFile)
	if err != nil {
		t.Fatal(err)
	}
	all, err := parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// asCheckedIn returns the file's values, as if they had just been measured, and the facts that they
// are for.
func asCheckedIn(t *testing.T, all []entry) (values []measured, f facts) {
	t.Helper()
	f = facts{}
	for i := range all {
		for _, s := range all[i].section {
			what, here, _ := strings.Cut(s, " ")
			f[what] = here
		}
		if all[i].name == "" {
			continue
		}
		value, err := strconv.ParseFloat(all[i].value, 64)
		if err != nil {
			t.Fatal(err)
		}
		values = append(values, measured{all[i].name, value})
	}
	if len(values) < 20 {
		t.Fatalf("%s has only %d values", valuesFile, len(values))
	}
	return values, f
}

// TestEachValueIsHeld: a copy of the file in which one value has moved by more than its tolerance
// makes the check fail with that value's name, and no other's. A value within its tolerance passes.
func TestEachValueIsHeld(t *testing.T) {
	t.Parallel()
	all := readValues(t)
	values, f := asCheckedIn(t, all)
	if _, problems := compare(all, values, f); problems != nil {
		t.Errorf("the file differs from itself: %q", problems)
	}
	for i := range all {
		e := all[i]
		if e.name == "" {
			continue
		}
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			value, _ := strconv.ParseFloat(e.value, 64)
			for _, by := range []float64{-0.2, 0.2} { // no tolerance is as large
				moved := slices.Clone(all)
				moved[i].value = format(value + by*value + math.Copysign(1, by))
				_, problems := compare(moved, values, f)
				if len(problems) != 1 {
					t.Fatalf("%s instead of %s: got %q, want one problem", moved[i].value, e.value, problems)
				}
				for _, part := range []string{e.name + ": ", "checked in " + moved[i].value + ",", "measured " + format(value) + ",", "tolerance " + e.tolerance + ".", accept} {
					if !strings.Contains(problems[0], part) {
						t.Errorf("the problem lacks %q: %s", part, problems[0])
					}
				}
			}
		})
	}
}

func TestTolerances(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		value, tolerance string
		measured         float64
		moved            bool
	}{
		{"1", "0", 1, false},
		{"1", "0", 2, true},
		{"1", "0", 0, true},
		{"0", "1%", 0, false},
		{"0", "1%", 0.01, true},
		{"100", "2%", 102, false},
		{"100", "2%", 98, false},
		{"100", "2%", 102.1, true},
		{"100", "2%", 97.9, true},
		{"421.5", "0.5", 422, false},
		{"421.5", "0.5", 422.1, true},
	} {
		e := entry{name: "x", value: tt.value, tolerance: tt.tolerance}
		if got, err := e.moved(tt.measured); got != tt.moved || err != nil {
			t.Errorf("%s ± %s, measured %v: moved is %v, %v", tt.value, tt.tolerance, tt.measured, got, err)
		}
	}
}

// example is a file with one value of each kind.
const example = `# why
[always]
trips                                                           1        0

[go 1.26, arch amd64]
# why two
instructions                                                 1000       1%
[postgres 15]
wal                                                           400        1
`

var here = facts{"always": "", "go": "1.26", "arch": "amd64", "postgres": "15"}

// TestOtherVersions: what another version may move is shown and not compared.
func TestOtherVersions(t *testing.T) {
	t.Parallel()
	all, err := parse(example)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		change func(facts)
		want   []string // the names that have moved
	}{
		{"the same", func(facts) {}, []string{"trips", "instructions", "wal"}},
		{"another Go", func(f facts) { f["go"] = "1.27" }, []string{"trips", "wal"}},
		{"another processor", func(f facts) { f["arch"] = "arm64" }, []string{"trips", "wal"}},
		{"another Postgres", func(f facts) { f["postgres"] = "17" }, []string{"trips", "instructions"}},
	} {
		f := maps.Clone(here)
		tt.change(f)
		report, problems := compare(all, []measured{{"trips", 2}, {"instructions", 2000}, {"wal", 500}}, f)
		var got []string
		for _, p := range problems {
			name, _, _ := strings.Cut(p, ":")
			got = append(got, name)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: moved %q, want %q", tt.name, got, tt.want)
		}
		for i, part := range []string{"2 ", "2000 ", "500 "} {
			if !strings.Contains(report[i], part) {
				t.Errorf("%s: the report hides what was measured: %s", tt.name, report[i])
			}
		}
	}
}

// TestUnknownAndUnavailable: a new value fails until it is in the file, one that this machine
// cannot measure is shown.
func TestUnknownAndUnavailable(t *testing.T) {
	t.Parallel()
	all, err := parse(example)
	if err != nil {
		t.Fatal(err)
	}
	report, problems := compare(all, []measured{{"trips", 1}, {"wal", 400}, {"new", 7}}, here)
	if len(problems) != 1 || !strings.HasPrefix(problems[0], "new: not checked in, measured 7.") {
		t.Errorf("got %q", problems)
	}
	if !strings.Contains(report[1], "not available") {
		t.Errorf("got %q", report)
	}
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	all, err := parse(example)
	if err != nil {
		t.Fatal(err)
	}
	f := facts{"always": "", "go": "1.27", "arch": "arm64", "postgres": "16"}
	got := updated(all, []measured{{"trips", 2}, {"wal", 400.4}}, f)
	want := strings.NewReplacer("1        0", "2        0", "[postgres 15]", "[postgres 16]").Replace(example)
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if same := updated(all, nil, here); same != example {
		t.Errorf("without values the file becomes\n%s", same)
	}
}

func TestFileErrors(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"trips 1 0\n", "[always]\ntrips 1\n", "[always]\ntrips one 0\n", "[always]\ntrips 1 some\n", "[always]\ntrips 1 0 0\n"} {
		if _, err := parse(text); err == nil {
			t.Errorf("no error: %s", text)
		}
	}
}
