// Package make_test checks what the Makefile's targets do before they do anything: the tools that they ask
// for, the stack that they name, their order. Stand-ins take the place of all tools.
package make_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// checkout is a folder with the files that make reads, and a folder of tools.
type checkout struct{ dir, tools string }

// basics are the tools that every system has.
var basics = []string{"sh", "env", "awk", "sed", "cat", "cut", "date", "dirname", "getconf", "grep", "head", "mkdir", "mktemp", "rm", "sleep", "sort", "tail", "tee", "tr", "uname"}

func newCheckout(t *testing.T) checkout {
	t.Helper()
	c := checkout{dir: t.TempDir(), tools: t.TempDir()}
	for _, name := range []string{"Makefile", "samconfig.toml", "go.mod", "template.yaml"} {
		c.write(t, name, readFile(t, name))
	}
	for _, name := range basics {
		if err := os.Symlink(path(t, name), filepath.Join(c.tools, name)); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func (c checkout) write(t *testing.T, name, text string) {
	t.Helper()
	file := filepath.Join(c.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
}

// tool makes a stand-in.
func (c checkout) tool(t *testing.T, name, script string) {
	t.Helper()
	file := filepath.Join(c.tools, name)
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) { // never through a link to the system's
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
}

// sam is a stand-in that prints its arguments, and writes what the targets of `sam build` would.
const sam = `{ printf '<%s>' "$@"; echo " SAM_ARCH=$SAM_ARCH"; }
if [ "$1" = build ]; then mkdir -p .aws-sam/build && echo "- Architecture=$SAM_ARCH" >.aws-sam/build/parameters.yaml; fi`

// make runs make in the folder, with the tools and no others.
func (c checkout) make(t *testing.T, arguments ...string) (stdout, stderr string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), path(t, "make"), append([]string{"--directory", c.dir, "VERSION=v1.2.3"}, arguments...)...)
	cmd.Env = []string{"PATH=" + c.tools, "HOME=" + c.dir, "DOCKER_HOST="}
	var out strings.Builder
	cmd.Stdout = &out
	said, err := os.Create(c.said())
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	cmd.Stderr = said
	err = cmd.Run()
	text, readErr := os.ReadFile(c.said())
	if readErr != nil {
		t.Fatal(readErr)
	}
	return out.String(), string(text), err
}

// said is the file of standard error.
func (c checkout) said() string { return filepath.Join(c.dir, "said") }

// targets returns the targets that `make help` lists.
func targets(t *testing.T) []string {
	t.Helper()
	out, said, err := newCheckout(t).make(t, "--silent", "help")
	if err != nil {
		t.Fatalf("make help: %v: %s", err, said)
	}
	var names []string
	for line := range strings.Lines(out) {
		names = append(names, strings.Fields(line)[0])
	}
	if len(names) < 30 {
		t.Fatalf("make help lists %q", names)
	}
	return names
}

const goVersion = `[ "$1" != version ] || echo "go version go1.99.1 linux/amd64"`

// TestATargetNamesTheToolThatIsMissing runs every target without tools, and then with those that it asked
// for before, until it asks for no more. Each time it names what it needs and where that is, and nothing
// says that a command was not found.
func TestATargetNamesTheToolThatIsMissing(t *testing.T) {
	t.Parallel()
	stands := map[string]struct{ tool, script string }{
		"This needs Go ":              {"go", goVersion},
		"This needs the SAM CLI":      {"sam", sam},
		"This needs Docker":           {"docker", ":"},
		"NO IMAGE WAS BUILT":          {"docker", ":"},
		"This needs Python 3.11":      {"python3", ":"},
		"This needs the client of Po": {"psql", ":"},
		"This needs bash":             {"bash", ":"},
		"This needs Git":              {"git", ":"},
		"This needs PgBouncer":        {"pgbouncer", ":"},
		"This needs iproute2":         {"ip", ":"},
		"This needs a C compiler":     {"cc", ":"},
	}
	place := regexp.MustCompile(`https://|apt-get install`)
	unsaid := regexp.MustCompile(`not found|No such file|No rule`)
	wants := map[string]string{
		"all": "go", "demo": "go", "build-bin": "go", "start": "go", "deploy": "go sam", "migrate": "sam", "logs": "sam", "invoke": "docker go sam",
		"publish": "docker", "build": "docker", "dist": "go", "cases": "go psql python3", "test RACE=-race": "cc go", "build-IngestFunction": "go",
	}
	for _, target := range append(targets(t), "build-IngestFunction", "build-MigrateFunction", "test RACE=-race") {
		if target == "help" || target == "clean" {
			continue
		}
		t.Run(target, func(t *testing.T) {
			t.Parallel()
			c := newCheckout(t)
			// The scripts have their own messages.
			for _, script := range []string{".ci/fuzz", ".ci/list-tests", "test/sam/run.sh", "test/container/run.sh", "test/dist/run.sh", "bin/sluice", "bin/services"} {
				c.write(t, script, "#!/bin/sh\necho 'example.com/owner/sluice/p name'")
			}
			var needed []string
			for {
				out, said, err := c.make(t, strings.Fields(target+" ARTIFACTS_DIR="+t.TempDir())...)
				if unsaid.MatchString(said) {
					t.Errorf("with %q: %s%s", needed, out, said)
				}
				if err == nil {
					break
				}
				asked := ""
				for words := range stands {
					if strings.Contains(said, words) {
						asked = words
					}
				}
				if asked == "" || !place.MatchString(said) || slices.Contains(needed, stands[asked].tool) {
					t.Fatalf("with %q: %v\n%s%s", needed, err, out, said)
				}
				if strings.Contains(said, "go build") {
					t.Errorf("it compiles, which takes minutes, before it asks for %s: %s", stands[asked].tool, said)
				}
				needed = append(needed, stands[asked].tool)
				c.tool(t, stands[asked].tool, stands[asked].script)
			}
			slices.Sort(needed)
			if want, ok := wants[target]; ok && strings.Join(needed, " ") != want {
				t.Errorf("it asks for %q, want %q", needed, want)
			}
		})
	}
}

// TestNoImageWithoutAnEngine checks that make build says how to get the program without one.
func TestNoImageWithoutAnEngine(t *testing.T) {
	t.Parallel()
	c := newCheckout(t)
	c.tool(t, "docker", "exit 1") // there, and its engine does not answer
	out, said, err := c.make(t, "build")
	if err == nil || !strings.Contains(said, "make build-bin") {
		t.Errorf("%v: %s%s", err, out, said)
	}
}

// TestGoIsNewEnough checks that an old Go, or one that fails, is told from one that will do.
func TestGoIsNewEnough(t *testing.T) {
	t.Parallel()
	want := regexp.MustCompile(`(?m)^go 1\.(\d+)`).FindStringSubmatch(readFile(t, "go.mod"))[1]
	for _, tt := range []struct {
		name, version string
		said          string // "" means that it will do
	}{
		{"Debian 12", `echo "go version go1.19.8 linux/amd64"`, "(go version go1.19.8 linux/amd64)"},
		{"the one before", `echo "go version go1.25.9 linux/amd64"`, "(go version go1.25.9 linux/amd64)"},
		{"this one", `echo "go version go1.` + want + `.0 linux/amd64"`, ""},
		{"a patch of it", `echo "go version go1.` + want + `.12 darwin/arm64"`, ""},
		{"a later one", `echo "go version go1.100.1 linux/arm64"`, ""},
		{"a development version", `echo "go version devel go1.99-0123abc Mon Nov 30 linux/amd64"`, ""},
		{"one that cannot fetch its toolchain", `echo "go: download go1.26.0 for linux/amd64: toolchain not available" >&2; exit 1`, "toolchain not available"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newCheckout(t)
			c.tool(t, "go", `if [ "$1" = version ]; then `+tt.version+`; else echo "RUN $*"; fi`)
			out, said, err := c.make(t, "build-bin")
			if (err != nil) != (tt.said != "") || strings.Contains(out, "RUN build") == (tt.said != "") {
				t.Fatalf("%v: %s%s", err, out, said)
			}
			if tt.said != "" && (!strings.Contains(said, tt.said) || !strings.Contains(said, "Go 1."+want+" or newer") || !strings.Contains(said, "https://go.dev/dl")) {
				t.Errorf("it says %s", said)
			}
		})
	}
}

// TestWhatTakesLongIsSaid checks that a target says what takes long while it does, on standard error, and
// only then.
func TestWhatTakesLongIsSaid(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ target, said string }{
		{"build-bin", "compiling: about 90 s the first time"},
		{"demo", "compiling: about 90 s the first time"},
		{"lint", "building the linters: "},
		{"unit", "compiling "},
		{"test", "compiling "},
		{"drill", "compiling "},
		{"fmt", "building "},
		{"vuln", "building "},
		{"function", "compiling: "},
		{"dist", "compiling: "},
		{"start", "compiling: "},
	} {
		for _, slow := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, slow: %v", tt.target, slow), func(t *testing.T) {
				t.Parallel()
				c := newCheckout(t)
				for _, program := range []string{"bin/sluice", "bin/services"} {
					c.write(t, program, "#!/bin/sh")
				}
				c.tool(t, "go", goVersion)
				if slow { // the 5 seconds are over at once, and Go works until that was said, or for 10 seconds
					c.tool(t, "sleep", ":")
					c.tool(t, "go", goVersion+`
case "$1" in version | env | list) exit ;; esac
n=0; until grep -q '`+tt.said+`' '`+c.said()+`' || [ $n -ge 200 ]; do `+path(t, "sleep")+` 0.05; n=$((n + 1)); done`)
				}
				out, said, err := c.make(t, tt.target)
				if err != nil {
					t.Fatalf("%v: %s%s", err, out, said)
				}
				if strings.Contains("\n"+said, "\n"+tt.said) != slow || strings.Contains(out, tt.said) {
					t.Errorf("on standard error: %s\non standard output: %s", said, out)
				}
			})
		}
	}
}

// path returns where a tool of the system is.
func path(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestMakeAloneTestsFirst checks the order: the linters, which take minutes to build, come last.
func TestMakeAloneTestsFirst(t *testing.T) {
	t.Parallel()
	c := newCheckout(t)
	out, said, err := c.make(t, "--dry-run")
	unit, lint := strings.Index(out, "go test -short"), strings.Index(out, "golangci-lint")
	if err != nil || unit < 0 || lint < unit {
		t.Errorf("%v: %s\n%s", err, out, said)
	}
}

// TestHelpTellsTargetsFromSubcommands checks that a target with the name of a sub-command says what it adds.
func TestHelpTellsTargetsFromSubcommands(t *testing.T) {
	t.Parallel()
	out, said, err := newCheckout(t).make(t, "--silent", "help")
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	commands := " run " // that is none
	for _, row := range regexp.MustCompile("(?m)^\\| (`[a-z`, ]+`) \\|").FindAllStringSubmatch(readFile(t, "docs/commands.md"), -1) {
		commands += strings.NewReplacer("`", "", ",", "").Replace(row[1]) + " "
	}
	var shared []string
	for line := range strings.Lines(out) {
		name, text, _ := strings.Cut(line, " ")
		if !strings.Contains(commands, " "+name+" ") {
			continue
		}
		if shared = append(shared, name); !strings.Contains(text, "`sluice ") {
			t.Errorf("make help says of %s:%s", name, text)
		}
	}
	if want := []string{"help", "demo", "run", "migrate", "invoke"}; !slices.Equal(shared, want) {
		t.Errorf("sub-commands that are targets: %q, want %q", shared, want)
	}
}

// TestEveryCommandNamesTheStack checks that deploy, migrate and logs name the same stack, in each stage and
// with each name, and use that stage's section.
func TestEveryCommandNamesTheStack(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ arguments, stage, stack string }{
		{"", "default", "sluice"},
		{"STAGE=dev", "dev", "sluice-dev"},
		{"STAGE=staging", "staging", "sluice-staging"},
		{"STAGE=prod", "prod", "sluice-prod"},
		{"STACK=orders", "default", "orders"},
		{"STAGE=prod STACK=orders-prod", "prod", "orders-prod"},
	} {
		t.Run(tt.arguments, func(t *testing.T) {
			t.Parallel()
			for target, want := range map[string][]string{
				"deploy": {
					"sam build --config-env " + tt.stage,
					"sam deploy --config-env " + tt.stage + " --stack-name " + tt.stack + " --s3-prefix " + tt.stack,
				},
				"migrate": {"sam remote invoke MigrateFunction --config-env " + tt.stage + " --stack-name " + tt.stack},
				"logs":    {"sam logs --config-env " + tt.stage + " --stack-name " + tt.stack + " --name IngestFunction --tail"},
			} {
				// Planned, and done.
				planned, said, err := newCheckout(t).make(t, append([]string{"--dry-run", target}, strings.Fields(tt.arguments)...)...)
				if err != nil {
					t.Fatalf("make -n %s: %v: %s", target, err, said)
				}
				c := newCheckout(t)
				c.tool(t, "go", goVersion)
				c.tool(t, "sam", sam)
				done, said, err := c.make(t, append([]string{"--silent", target}, strings.Fields(tt.arguments)...)...)
				if err != nil {
					t.Fatalf("make %s: %v: %s%s", target, err, done, said)
				}
				var plan, calls []string
				for line := range strings.Lines(planned) {
					if _, call, ok := strings.Cut(strings.TrimSpace(line), "sam "); ok && regexp.MustCompile(`^(SAM_ARCH=\S* )?sam `).MatchString(line) {
						plan = append(plan, "sam "+call)
					}
				}
				for line := range strings.Lines(done) {
					line, _, _ = strings.Cut(line, " SAM_ARCH=")
					calls = append(calls, "sam "+strings.Trim(strings.ReplaceAll(line, "><", " "), "<>"))
				}
				if !slices.Equal(plan, want) || !slices.Equal(calls, want) {
					t.Errorf("make %s %s plans %q and does %q, want %q", target, tt.arguments, plan, calls, want)
				}
			}
		})
	}
}

// TestNoStackByMistake checks that a stage that does not exist, and one without a stack, end every command
// before it does anything, and that the error has the stages.
func TestNoStackByMistake(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"deploy", "migrate", "logs", "invoke"} {
		for arguments, want := range map[string]string{
			"STAGE=production":              "It has: default dev prod staging",
			"STAGE=production STACK=orders": "It has: default dev prod staging",
			"STAGE=pro":                     "It has: default dev prod staging",
			"STACK=":                        "no STACK=name",
		} {
			if target == "invoke" && !strings.Contains(arguments, "STAGE") {
				continue // it runs on this machine
			}
			c := newCheckout(t)
			c.tool(t, "go", goVersion)
			c.tool(t, "sam", sam)
			c.tool(t, "docker", ":")
			out, said, err := c.make(t, append([]string{target}, strings.Fields(arguments)...)...)
			if err == nil || !strings.Contains(said, want) || strings.Contains(out, "SAM_ARCH=\n") {
				t.Errorf("make %s %s: %v: %s%s", target, arguments, err, out, said)
			}
		}
	}
}

// TestMakeDeploy checks that make deploy passes parameters to SAM in the file that samconfig.toml
// names: on the command line they would replace those of samconfig.toml.
func TestMakeDeploy(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name                string
		arguments           []string
		stage, architecture string
		want                []string
	}{
		{"as it is", nil, "default", "arm64", nil},
		{
			"told",
			[]string{"STAGE=dev", "SAM_ARCH=x86_64", "PARAMETERS=BatchSize=500 DatabaseUrl='postgres://it'\\''s?a=b&c=d' MaskSecretArn='\"\"'"},
			"dev", "x86_64",
			[]string{"- 'BatchSize=500'", "- 'DatabaseUrl=postgres://it''s?a=b&c=d'", `- 'MaskSecretArn=""'`},
		},
		{"another architecture than built", []string{"PARAMETERS=Architecture=x86_64"}, "default", "arm64", []string{"- 'Architecture=x86_64'"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newCheckout(t)
			c.tool(t, "go", goVersion)
			c.write(t, "own/sam", "#!/bin/sh\n"+sam)
			out, said, err := c.make(t, append([]string{"--silent", "deploy", "SAM=own/sam"}, tt.arguments...)...)
			want := fmt.Sprintf("<build><--config-env><%[1]s> SAM_ARCH=%[2]s\n<deploy><--config-env><%[1]s>", tt.stage, tt.architecture)
			if err != nil || !strings.HasPrefix(out, want) {
				t.Fatalf("%v: got\n%s%s\nwant\n%s", err, out, said, want)
			}
			file, err := os.ReadFile(filepath.Join(c.dir, ".aws-sam", "build", "parameters.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(strings.TrimSpace(string(file)), "\n")
			if first, last := lines[0], lines[len(lines)-1]; first != "- Architecture="+tt.architecture || last != "- 'Architecture="+tt.architecture+"'" || !strings.HasPrefix(lines[1], "- 'Revision=v1.2.3-2") {
				t.Errorf("the parameters are\n%s", file)
			}
			if got := lines[2 : len(lines)-1]; !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestMakeDeployNeedsTheFile checks that make refuses a samconfig.toml that does not name the file, as
// `sam deploy --guided` writes it: it would deploy without the parameters.
func TestMakeDeployNeedsTheFile(t *testing.T) {
	t.Parallel()
	c := newCheckout(t)
	c.tool(t, "go", goVersion)
	c.tool(t, "sam", sam)
	c.write(t, "samconfig.toml", strings.Replace(readFile(t, "samconfig.toml"), `MaximumConcurrency=2", "file://.aws-sam/build/parameters.yaml"]`, `MaximumConcurrency=2"]`, 1))
	for stage, fails := range map[string]bool{"dev": true, "prod": false} {
		out, said, err := c.make(t, "--silent", "deploy", "STAGE="+stage)
		if (err != nil) != fails || strings.Contains(out, "<build>") == fails {
			t.Errorf("%s: %v: %s%s", stage, err, out, said)
		}
	}
}

// TestMakeDeployRefuses checks that make says what is wrong before it builds: SAM would leave a parameter
// out that the template does not have, and deploy without it.
func TestMakeDeployRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ argument, said string }{
		{"PARAMETERS=BatchSize=500 PermissionBoundaryArn=arn:aws:iam::123456789012:policy/b", "no parameter PermissionBoundaryArn:"},
		{"PARAMETERS=BatchSize = 500", "write Name=value, without blanks: BatchSize\n"},
		{"PARAMETERS=Type=1", "no parameter Type:"},
		{"SAM_ARCH=riscv64", "Lambda has no functions for riscv64: give SAM_ARCH=arm64"},
	} {
		c := newCheckout(t)
		c.tool(t, "go", goVersion)
		c.tool(t, "sam", sam)
		out, said, err := c.make(t, "--silent", "deploy", tt.argument)
		if err == nil || !strings.Contains(said, tt.said) || strings.Contains(out, "<build>") {
			t.Errorf("%s: %v: %s%s", tt.argument, err, out, said)
		}
	}
}

// TestDocsNameTargets checks that what the documents tell people to make can be made.
func TestDocsNameTargets(t *testing.T) {
	t.Parallel()
	docs, err := filepath.Glob(root + "/docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	known := targets(t)
	named := 0
	for _, doc := range append(docs, root+"/README.md", root+"/ARCHITECTURE.md", root+"/CHANGELOG.md") {
		text, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		code := false
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(strings.TrimSpace(line), "```") {
				code = !code
			}
			if code {
				line = "`" + line
			}
			for _, found := range regexp.MustCompile("(?:`|\\$\\()make (?:-s )?([a-z][a-z_-]*)").FindAllStringSubmatch(line, -1) {
				if named++; !slices.Contains(known, found[1]) {
					t.Errorf("%s: there is no make %s", doc, found[1])
				}
			}
		}
	}
	if named < 20 {
		t.Errorf("the documents name %d targets", named)
	}
}
