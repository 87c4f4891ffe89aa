//go:build localstack

package stack_test

import (
	"bufio"
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/owner/sluice/internal/testing/pgtest"
	"example.com/owner/sluice/test/localstack"
)

// tools returns the folder of test/sam's SAM CLI.
var tools = sync.OnceValues(func() (string, error) {
	if err := command("test/sam/run.sh", "tools"); err != nil {
		return "", err
	}
	return filepath.Abs(filepath.Join(root, ".local", "sam", "bin"))
})

// clone returns a folder with the last commit and all changes since.
func clone(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "clone")
	if err := command("sh", "-c", `git clone --quiet --no-hardlinks . "$1" && git diff --binary HEAD | git -C "$1" apply --allow-empty`, "sh", dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// shell is where somebody types commands of SAM, or make's.
type shell struct{ dir, path string }

// command prepares a command whose AWS is LocalStack, and which says yes when it is asked.
func (sh shell) command(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	bin, err := tools()
	if err != nil {
		t.Fatal(err)
	}
	region := "AWS_REGION=" // which make passes on
	if name == "sam" {
		region = "AWS_DEFAULT_REGION="
		name = filepath.Join(bin, name)
	}
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = sh.dir
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(variable string) bool {
		return strings.HasPrefix(variable, "AWS_") || strings.HasPrefix(variable, "MAKE") || strings.HasPrefix(variable, "PATH=")
	}), "PATH="+strings.ReplaceAll(sh.path, "TOOLS", bin), "AWS_ENDPOINT_URL="+shared.aws.Endpoint, region+localstack.Region,
		"AWS_ACCESS_KEY_ID="+localstack.AccessKey, "AWS_SECRET_ACCESS_KEY="+localstack.SecretKey, "AWS_CONFIG_FILE=/dev/null",
		"SAM_CLI_TELEMETRY=0", "SAM_CLI_POLL_DELAY=0.5")
	cmd.Stdin = strings.NewReader("y\n")
	cmd.WaitDelay = time.Second
	return cmd
}

func (sh shell) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	began := time.Now()
	out, err := sh.command(t, name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	t.Logf("%s %s: %.1f s", name, strings.Join(args, " "), time.Since(began).Seconds())
	return string(out)
}

// deploy runs a command that makes the stack.
func (s *stack) deploy(t *testing.T, sh shell, name string, args ...string) {
	t.Helper()
	shared.creating.Lock()
	defer shared.creating.Unlock()
	sh.run(t, name, args...)
	s.created(t)
}

// pairs returns parameters as SAM takes them.
func pairs(parameters map[string]string) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		list = append(list, name+"="+parameters[name])
	}
	return strings.Join(list, " ")
}

// TestThePackageNeedsNoGo deploys what `make dist` makes, with nothing but SAM.
func TestThePackageNeedsNoGo(t *testing.T) {
	t.Parallel()
	build := shell{clone(t), os.Getenv("PATH")}
	build.run(t, "make", "dist", "VERSION=v0.0.0-package", "PLATFORMS_CLI=", "PLATFORMS_LAMBDA="+architecture())
	name := "sluice_v0.0.0-package_sam_" + architecture()
	build.run(t, "tar", "-xzf", "dist/"+name+".tar.gz")

	k := orders()
	s, parameters := newStack(t, "packaged", pgtest.New(t), k)
	delete(parameters, "Architecture") // the package has it
	user := shell{filepath.Join(build.dir, name), t.TempDir()}
	file, err := os.ReadFile(filepath.Join(user.dir, "parameters.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	text := "- " + strings.ReplaceAll(pairs(parameters), " ", "\n- ") + "\n" + string(file)
	if err := os.WriteFile(filepath.Join(user.dir, "parameters.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.deploy(t, user, "sam", "deploy", "--stack-name", s.name)
	user.run(t, "sam", "remote", "invoke", "MigrateFunction", "--stack-name", s.name)
	s.open(t, k)
	tr := &traffic{kind: k}
	tr.send(t, s, 0, 50)
	tr.wantAllSettled(t, s)
}

// TestTwoStacks deploys two stacks as docs/deploy.md says, STACK=orders and STAGE=prod, and checks that
// migrate and logs look at the one that they name.
func TestTwoStacks(t *testing.T) {
	t.Parallel()
	sh := shell{clone(t), "TOOLS:" + os.Getenv("PATH")}
	type one struct {
		*stack
		kind    kind
		traffic *traffic
		named   string
	}
	two := []*one{
		{kind: orders(), named: "STACK=orders"},
		{kind: logins(), named: "STAGE=prod"},
	}
	for i, name := range []string{"orders", "sluice-prod"} {
		o := two[i]
		var parameters map[string]string
		o.stack, parameters = newStack(t, name, pgtest.New(t), o.kind)
		o.traffic = &traffic{kind: o.kind}
		delete(parameters, "Architecture")       // make deploy has it
		parameters["GradualDeployment"] = "none" // LocalStack has no CodeDeploy
		o.deploy(t, sh, "make", "deploy", o.named, "SAM_ARCH="+architecture(), "PARAMETERS="+pairs(parameters))
		if got, want := o.outputs["IngestFunctionName"], name+"-ingest"; got != want {
			t.Fatalf("make deploy %s: the stack %s has the function %q, want %q", o.named, name, got, want)
		}
	}
	for i, o := range two {
		sh.run(t, "make", "migrate", o.named)
		for j, other := range two {
			exists := other.db.Rows(t, "SELECT (to_regclass($1) IS NOT NULL)::text", other.db.Schema+"."+other.kind.model)[0][0]
			if want := fmt.Sprint(j <= i); exists != want {
				t.Fatalf("after make migrate %s, the table %s of %s exists: %s, want %s", o.named, other.kind.model, other.name, exists, want)
			}
		}
		o.open(t, o.kind)
		o.traffic.send(t, o.stack, 0, 20)
	}
	for _, o := range two {
		o.traffic.wantAllSettled(t, o.stack)
	}
	for i, o := range two {
		rejected := func(tr *traffic) string { return tr.sent[3].id } // see kind.message
		sh.follow(t, rejected(o.traffic), rejected(two[1-i].traffic), "make", "logs", o.named)
	}
}

// follow runs a command until it prints a text, and checks that it does not print another.
func (sh shell) follow(t *testing.T, want, foreign, name string, args ...string) {
	t.Helper()
	cmd := sh.command(t, name, args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	limit := time.AfterFunc(time.Minute, func() { _ = cmd.Cancel() })
	defer limit.Stop()
	var printed strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan() && !strings.Contains(printed.String(), want); {
		printed.WriteString(lines.Text() + "\n")
	}
	_ = cmd.Cancel()
	_ = cmd.Wait() // it was ended
	if text := printed.String(); !strings.Contains(text, want) || strings.Contains(text, foreign) {
		t.Errorf("%s %q: it has to print %s, and not %s:\n%s\n%s", name, args, want, foreign, text, said.String())
	}
}
