package sam_test

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/config"
	"example.com/owner/sluice/internal/sqs"
)

func readFile(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile("../../" + path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestDocsNameTheVariables checks that docs/configuration.md has the variables and the defaults of the
// code and the template. (The rules "variables" and "configuration" compare those two.)
func TestDocsNameTheVariables(t *testing.T) {
	t.Parallel()
	row := regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\|([^|]*)\\|")
	documented := map[string]string{}
	for _, found := range row.FindAllStringSubmatch(readFile(t, "docs/configuration.md"), -1) {
		name, value := found[1], strings.Trim(strings.TrimSpace(found[2]), "`")
		if _, twice := documented[name]; twice {
			t.Errorf("docs/configuration.md: %s is there twice", name)
		}
		documented[name] = value
	}
	for _, name := range config.Variables() {
		if _, ok := documented[name]; !ok {
			t.Errorf("docs/configuration.md: the table of variables has no line for %s", name)
		}
	}
	for name := range documented {
		if !slices.Contains(config.Variables(), name) {
			t.Errorf("docs/configuration.md: the table has %s, which nothing reads", name)
		}
	}
	// A default is what the code does when the variable is not set: written out, it changes nothing.
	for name, value := range documented {
		if value == "" {
			continue
		}
		unset, err := config.Load(nil)
		if err != nil {
			t.Fatal(err)
		}
		set, err := config.Load(map[string]string{name: value})
		if err != nil {
			t.Errorf("docs/configuration.md: %s=%s: %v", name, value, err)
			continue
		}
		set.Models, unset.Models = nil, nil
		if got, want := fmt.Sprintf("%+v", *set), fmt.Sprintf("%+v", *unset); got != want {
			t.Errorf("docs/configuration.md: %s=%s is not the default: %s, not %s", name, value, got, want)
		}
	}
	template := resolve(readTemplate(t), scenarios["standard"]).environ("IngestFunction")
	for name, value := range documented {
		differs := map[string]bool{"SLUICE_BACKOFF": true} // on in the template, whose role allows it
		if have, ok := template[name]; ok && value != "" && !strings.EqualFold(have, value) && !differs[name] {
			t.Errorf("template.yaml: %s is %q by default, %q in docs/configuration.md", name, have, value)
		}
	}
}

func TestEveryAlarmIsExplained(t *testing.T) {
	t.Parallel()
	manual := readFile(t, "docs/operate.md")
	s := resolve(readTemplate(t), scenarios["gradual"])
	for _, alarm := range s.ofKind("AWS::CloudWatch::Alarm") {
		slug := alarmName(alarm)
		_, section, ok := strings.Cut(manual, "\n### "+slug+"\n")
		if !ok {
			t.Errorf("docs/operate.md has no section ### %s", slug)
			continue
		}
		section, _, _ = strings.Cut(section, "\n#")
		for _, part := range []string{"**Means.**", "**Look at.**", "**Do.**"} {
			if !strings.Contains(section, part) {
				t.Errorf("docs/operate.md, %s: no %s", slug, part)
			}
		}
	}
}

// TestDocsNameTheParameters checks that the table of docs/deploy.md has every parameter once, with the
// template's default, and that no document names one that does not exist.
func TestDocsNameTheParameters(t *testing.T) {
	t.Parallel()
	source := readTemplate(t)
	table := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| (`[A-Z].*?) \\| (.*?) ?\\|").FindAllStringSubmatch(readFile(t, "docs/deploy.md"), -1) {
		for name := range strings.SplitSeq(row[1], ", ") {
			name = strings.Trim(name, "`")
			if _, twice := table[name]; twice || at(source, "Parameters", name) == nil {
				t.Errorf("docs/deploy.md: the table has %s twice, or the template has no such parameter", name)
			}
			table[name] = row[2]
		}
	}
	for name, p := range object(source["Parameters"]) {
		said, ok := table[name]
		if !ok {
			t.Errorf("docs/deploy.md: the table has no line for %s", name)
		}
		// An empty default is nothing, or in words.
		if preset, ok := object(p)["Default"]; ok && preset != "" && strings.Trim(said, "`") != fmt.Sprint(preset) {
			t.Errorf("docs/deploy.md: the default of %s is %v, not %s", name, preset, said)
		}
	}
	given := regexp.MustCompile(`\b([A-Z][a-z]+[A-Za-z]*)=`)
	for _, doc := range []string{"docs/deploy.md", "docs/operate.md", "docs/security.md", "docs/cost.md"} {
		for _, found := range given.FindAllStringSubmatch(readFile(t, doc), -1) {
			name := found[1]
			if at(source, "Parameters", name) == nil && !slices.Contains([]string{"Name", "VisibilityTimeout", "AdditionalVersionWeights"}, name) {
				t.Errorf("%s: the template has no parameter %s", doc, name)
			}
		}
	}
}

// TestParameterGroups checks that the console shows every parameter in one group.
func TestParameterGroups(t *testing.T) {
	t.Parallel()
	source := readTemplate(t)
	var grouped []string
	for _, group := range elements(at(source, "Metadata", "AWS::CloudFormation::Interface", "ParameterGroups")) {
		grouped = append(grouped, texts(at(group, "Parameters"))...)
	}
	slices.Sort(grouped)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(object(source["Parameters"]))), grouped); diff != "" {
		t.Errorf("the groups' parameters (-want +got):\n%s", diff)
	}
}

// TestDocsSayHowLongAnOutageMayLast computes the numbers in the docs from the template and from the
// function's back-off.
func TestDocsSayHowLongAnOutageMayLast(t *testing.T) {
	t.Parallel()
	s := resolve(readTemplate(t), scenarios["standard"])
	receives, visibility := number(s.get("Queue", "RedrivePolicy", "maxReceiveCount")), number(s.get("Queue", "VisibilityTimeout"))
	expected, most := receivesOfADay()
	for _, sentence := range []struct{ file, want string }{
		{"template.yaml", fmt.Sprintf("about %d receives, and %d at most", expected, most)},
		{"docs/operate.md", fmt.Sprintf("moved it after %d receives", receives)},
		{"docs/operate.md", fmt.Sprintf("a receive of their %d, and nothing backs them off: %d receives of %d seconds are %d hours", receives, receives, visibility, receives*visibility/3600)},
		{"docs/operate.md", fmt.Sprintf("their %d receives last for %d hours", receives, receives*visibility/3600)},
		{"docs/operate.md", fmt.Sprintf("a day of trying is about %d of their %d receives", expected, receives)},
		{"docs/operate.md", fmt.Sprintf("starts at up to %g seconds", sqs.FirstDelay.Seconds())},
		{"docs/deploy.md", fmt.Sprintf("VisibilityTimeout=%d", visibility)},
		{"docs/deploy.md", fmt.Sprintf(`maxReceiveCount\":\"%d\"`, receives)},
		{"docs/deploy.md", fmt.Sprintf("the template has %d;", receives)},
		{"docs/cost.md", fmt.Sprintf("in a day of outage about %d times", expected-1)},
		{"README.md", fmt.Sprintf("grows from at most %g seconds to at most %g minutes", sqs.FirstDelay.Seconds(), sqs.MaxDelay.Minutes())},
	} {
		if text := strings.Join(strings.Fields(readFile(t, sentence.file)), " "); !strings.Contains(text, sentence.want) {
			t.Errorf("%s does not say: %s", sentence.file, sentence.want)
		}
	}
}

// TestSamconfig checks that each stage has a stack of its own, that the parameters have values which
// the template allows, and that those of the build come last. It reads samconfig.toml line by line.
func TestSamconfig(t *testing.T) {
	t.Parallel()
	settings := map[string]map[string][]string{}
	section := ""
	for i, line := range strings.Split(readFile(t, "samconfig.toml"), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if name, ok := strings.CutPrefix(line, "["); ok {
			section = strings.TrimSuffix(name, "]")
			settings[section] = map[string][]string{}
			continue
		}
		key, value, ok := strings.Cut(line, " = ")
		if !ok {
			t.Fatalf("samconfig.toml:%d: %s", i+1, line)
		}
		if section == "" {
			continue
		}
		for _, word := range regexp.MustCompile(`"([^"]*)"|([^\[\], ]+)`).FindAllStringSubmatch(value, -1) {
			settings[section][key] = append(settings[section][key], word[1]+word[2])
		}
	}
	source := readTemplate(t)
	stacks := map[string]string{}
	for _, stage := range []string{"default", "dev", "staging", "prod"} {
		stack := strings.Join(settings[stage+".global.parameters"]["stack_name"], ",")
		if stack == "" || stacks[stack] != "" {
			t.Errorf("%s: stack_name is %q, as of %q", stage, stack, stacks[stack])
		}
		stacks[stack] = stage
		for _, command := range []string{"deploy", "local_invoke", "local_start_lambda"} {
			overrides := settings[stage+"."+command+".parameters"]["parameter_overrides"]
			if len(overrides) == 0 || overrides[len(overrides)-1] != "file://.aws-sam/build/parameters.yaml" {
				t.Errorf("%s.%s: the last of parameter_overrides is not what the build says of itself: %q", stage, command, overrides)
				continue
			}
			given := map[string]string{"DatabaseSecretArn": writerSecret, "Architecture": "arm64"}
			for pair := range strings.FieldsSeq(strings.Join(overrides[:len(overrides)-1], " ")) {
				name, value, _ := strings.Cut(pair, "=")
				given[name] = value
				if allowed := texts(at(source, "Parameters", name, "AllowedValues")); allowed != nil && !slices.Contains(allowed, value) {
					t.Errorf("%s.%s: %s=%s is not one of %v", stage, command, name, value, allowed)
				}
			}
			s := resolve(source, given)
			if command == "deploy" {
				if stage != "default" && s.parameters["Stage"] != stage {
					t.Errorf("%s.deploy: Stage is %s", stage, s.parameters["Stage"])
				}
				// Those of the functions are in the template, so that they agree.
				tags := strings.Join(settings[stage+".global.parameters"]["tags"], " ")
				if want := "application=sluice stage=" + s.parameters["Stage"]; tags != want {
					t.Errorf("%s.global: the tags are %q, want %q", stage, tags, want)
				}
			}
			if problems := references(s); len(problems) > 0 {
				t.Errorf("%s.%s: %v", stage, command, problems)
			}
		}
	}
}
