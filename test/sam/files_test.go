package sam_test

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sluice/internal/config"
	"sluice/internal/sqsqueue"
)

func readFile(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile("../../" + path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The README's table, the code and the template (rules "variables" and "configuration") name the same variables with the same defaults.
func TestReadmeNamesTheVariables(t *testing.T) {
	t.Parallel()
	row := regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\|([^|]*)\\|")
	documented := map[string]string{}
	for _, found := range row.FindAllStringSubmatch(readFile(t, "README.md"), -1) {
		name, value := found[1], strings.Trim(strings.TrimSpace(found[2]), "`")
		if _, twice := documented[name]; twice {
			t.Errorf("README.md: %s is there twice", name)
		}
		documented[name] = value
	}
	for _, name := range config.Variables() {
		if _, ok := documented[name]; !ok {
			t.Errorf("README.md: the table of variables has no line for %s", name)
		}
	}
	for name := range documented {
		if !slices.Contains(config.Variables(), name) {
			t.Errorf("README.md: the table has %s, which nothing reads", name)
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
			t.Errorf("README.md: %s=%s: %v", name, value, err)
			continue
		}
		set.Model, unset.Model = nil, nil
		if got, want := fmt.Sprintf("%+v", *set), fmt.Sprintf("%+v", *unset); got != want {
			t.Errorf("README.md: %s=%s is not the default: %s, not %s", name, value, got, want)
		}
	}
	template := resolve(readTemplate(t), scenarios["standard"]).environ("IngestFunction")
	for name, value := range documented {
		differs := map[string]bool{"SLUICE_BACKOFF": true} // on in the template, whose role allows it
		if have, ok := template[name]; ok && value != "" && !strings.EqualFold(have, value) && !differs[name] {
			t.Errorf("template.yaml: %s is %q by default, %q in the README", name, have, value)
		}
	}
}

func TestEveryAlarmIsExplained(t *testing.T) {
	t.Parallel()
	manual := readFile(t, "docs/operate.md")
	s := resolve(readTemplate(t), scenarios["gradual"])
	for name := range wantedAlarms(s) {
		slug := strings.TrimPrefix(name, "mystack-")
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

// What the docs name of the template is there, and every parameter is in them.
func TestDocsNameTheParameters(t *testing.T) {
	t.Parallel()
	source := readTemplate(t)
	deploy := readFile(t, "docs/deploy.md")
	for name := range object(source["Parameters"]) {
		if !strings.Contains(deploy, "`"+name+"`") && !strings.Contains(deploy, name+"=") {
			t.Errorf("docs/deploy.md does not name the parameter %s", name)
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

// What the docs say of outages follows from the template and from the function's back-off.
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
		{"docs/operate.md", fmt.Sprintf("starts at %g seconds", sqsqueue.FirstDelay.Seconds())},
		{"docs/deploy.md", fmt.Sprintf("VisibilityTimeout=%d", visibility)},
		{"docs/deploy.md", fmt.Sprintf(`maxReceiveCount\":\"%d\"`, receives)},
		{"docs/deploy.md", fmt.Sprintf("the template has %d;", receives)},
		{"docs/cost.md", fmt.Sprintf("in a day of outage about %d times", expected-1)},
		{"README.md", fmt.Sprintf("grows from %g seconds to %g minutes", sqsqueue.FirstDelay.Seconds(), sqsqueue.MaxDelay.Minutes())},
	} {
		if text := strings.Join(strings.Fields(readFile(t, sentence.file)), " "); !strings.Contains(text, sentence.want) {
			t.Errorf("%s does not say: %s", sentence.file, sentence.want)
		}
	}
}

// samconfig.toml is read line by line: it has nothing that needs more.
func TestSamconfig(t *testing.T) {
	t.Parallel()
	settings := map[string]map[string]string{}
	section := ""
	for i, line := range strings.Split(readFile(t, "samconfig.toml"), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if name, ok := strings.CutPrefix(line, "["); ok {
			section = strings.TrimSuffix(name, "]")
			settings[section] = map[string]string{}
			continue
		}
		key, value, ok := strings.Cut(line, " = ")
		if !ok {
			t.Fatalf("samconfig.toml:%d: %s", i+1, line)
		}
		if section != "" {
			settings[section][key] = strings.Trim(value, `"`)
		}
	}
	source := readTemplate(t)
	stacks := map[string]string{}
	for _, stage := range []string{"default", "dev", "staging", "prod"} {
		stack := settings[stage+".global.parameters"]["stack_name"]
		if stack == "" || stacks[stack] != "" {
			t.Errorf("%s: stack_name is %q, as of %q", stage, stack, stacks[stack])
		}
		stacks[stack] = stage
		for key, want := range map[string]string{"build_in_source": "true", "parallel": "true", "cached": ""} {
			if got := settings[stage+".build.parameters"][key]; got != want {
				t.Errorf("%s.build: %s is %q, not %q", stage, key, got, want)
			}
		}
		deploy := settings[stage+".deploy.parameters"]
		for key, want := range map[string]string{"capabilities": "CAPABILITY_IAM", "resolve_s3": "true", "fail_on_empty_changeset": "false"} {
			if deploy[key] != want {
				t.Errorf("%s.deploy: %s is %q, not %q", stage, key, deploy[key], want)
			}
		}
		given := map[string]string{"DatabaseSecretArn": writerSecret}
		for pair := range strings.FieldsSeq(deploy["parameter_overrides"]) {
			name, value, _ := strings.Cut(pair, "=")
			given[name] = value
			if allowed := texts(at(source, "Parameters", name, "AllowedValues")); allowed != nil && !slices.Contains(allowed, value) {
				t.Errorf("%s.deploy: %s=%s is not one of %v", stage, name, value, allowed)
			}
		}
		s := resolve(source, given)
		if stage != "default" && s.parameters["Stage"] != stage {
			t.Errorf("%s.deploy: Stage is %v", stage, s.parameters["Stage"])
		}
		if problems := references(s); len(problems) > 0 {
			t.Errorf("%s.deploy: %v", stage, problems)
		}
	}
	if settings["default.validate.parameters"]["lint"] != "true" {
		t.Error("sam validate does not lint")
	}
}

// make deploy gives sam the parameters of samconfig.toml and its own: on the command line alone, SAM would forget the file's.
func TestMakeDeploy(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip("SKIPPED: make deploy was not looked at, since there is no make")
	}
	sam := t.TempDir() + "/sam"
	if err := os.WriteFile(sam, []byte("#!/bin/sh\nfor a; do echo \"<$a>\"; done\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "make", "-C", "../..", "deploy", "STAGE=dev", "SAM="+sam, "SAM_ARCH=x86_64", "PARAMETERS=BatchSize=500")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, want := range []string{
		"<build>", "<--config-env>\n<dev>", "<deploy>", "<Stage=dev LogLevel=DEBUG LogRetentionDays=7 MaximumConcurrency=2>", "<Architecture=x86_64>", "<Revision=", "<BatchSize=500>",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}
}

// The makefile has a target for each function, which builds it for the architecture that the template has by default.
func TestMakefileBuildsTheFunctions(t *testing.T) {
	t.Parallel()
	makefile := readFile(t, "Makefile")
	source := readTemplate(t)
	for id, r := range object(source["Resources"]) {
		if object(r)["Type"] == "AWS::Serverless::Function" && !strings.Contains(makefile, "\nbuild-"+id+":\n") {
			t.Errorf("Makefile: no target build-%s", id)
		}
	}
	found := regexp.MustCompile(`(?m)^SAM_ARCH +\?= ([a-z0-9_]+)`).FindStringSubmatch(makefile)
	if want := at(source, "Parameters", "Architecture", "Default"); len(found) != 2 || found[1] != want {
		t.Errorf("Makefile: SAM_ARCH is %v, the template's Architecture %v", found, want)
	}
	if !regexp.MustCompile(`(?m)^/\.aws-sam/$`).MatchString(readFile(t, ".gitignore")) {
		t.Error(".gitignore does not name .aws-sam")
	}
}
