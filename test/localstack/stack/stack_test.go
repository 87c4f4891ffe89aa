//go:build localstack

package stack_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/owner/sluice/internal/testing/pgtest"
	"example.com/owner/sluice/test/localstack"
)

// shared is what all tests use: one LocalStack, and the programs as sam would build them.
var shared struct {
	aws      *localstack.Server
	template string     // the repository's, its code in S3
	sluice   string     // the command line
	creating sync.Mutex // LocalStack fails when it makes several stacks at once
}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "sluice-localstack-test-*")
	if err == nil {
		defer os.RemoveAll(dir) //nolint:errcheck // temporary files
		err = prepare(dir)
	}
	if shared.aws != nil {
		defer shared.aws.Stop() //nolint:errcheck // its temporary files
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return pgtest.Main(m)
}

const (
	root   = "../../.."
	bucket = "code"
)

func prepare(dir string) (err error) {
	ctx := context.Background()
	local := filepath.Join(root, ".local")
	if err := os.MkdirAll(local, 0o755); err != nil {
		return err
	}
	shared.aws, err = localstack.Start(ctx, localstack.Config{
		Dir: filepath.Join(local, "localstack"), Log: filepath.Join(local, "localstack-test.log"), Progress: os.Stderr,
	})
	if err != nil {
		return err
	}
	shared.sluice = filepath.Join(dir, "sluice")
	if err := command("go", "build", "-o", shared.sluice, "./cmd/sluice"); err != nil {
		return err
	}
	if _, err := shared.aws.REST(ctx, "s3", http.MethodPut, "/"+bucket, nil); err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(root, "template.yaml"))
	if err != nil {
		return err
	}
	if shared.template, err = withCode(ctx, string(text), dir); err != nil {
		return err
	}
	shared.template, err = withDashboard(ctx, shared.template)
	return err
}

// withDashboard does what `sam package` does: it uploads the file that the template includes, and
// names that.
func withDashboard(ctx context.Context, template string) (string, error) {
	const name, location = "dashboard.yaml", "{Location: "
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		return "", err
	}
	if _, err := shared.aws.REST(ctx, "s3", http.MethodPut, "/"+bucket+"/"+name, text); err != nil {
		return "", err
	}
	if !strings.Contains(template, location+name) {
		return "", fmt.Errorf("template.yaml does not include %s", name)
	}
	return strings.Replace(template, location+name, location+"s3://"+bucket+"/"+name, 1), nil
}

// architecture returns the machine's architecture by its name in Lambda.
func architecture() string {
	return map[string]string{"amd64": "x86_64", "arm64": "arm64"}[runtime.GOARCH]
}

// withCode does what `sam build` and `sam package` do: it builds each function of the template by
// its target of the Makefile, uploads it as a zip file, and names that as the function's code.
func withCode(ctx context.Context, template, dir string) (string, error) {
	function := regexp.MustCompile(`(?s)\n  (\w+):\n    Type: AWS::Serverless::Function\n.*?\n      CodeUri: (\.)\n`)
	var b strings.Builder
	rest := template
	for {
		at := function.FindStringSubmatchIndex(rest)
		if at == nil {
			break
		}
		name := rest[at[2]:at[3]]
		artifacts := filepath.Join(dir, name)
		if err := os.Mkdir(artifacts, 0o755); err != nil {
			return "", err
		}
		if err := command("make", "build-"+name, "ARTIFACTS_DIR="+artifacts, "SAM_ARCH="+architecture()); err != nil {
			return "", err
		}
		zipped, err := zipFolder(artifacts)
		if err != nil {
			return "", err
		}
		if _, err := shared.aws.REST(ctx, "s3", http.MethodPut, "/"+bucket+"/"+name+".zip", zipped); err != nil {
			return "", err
		}
		b.WriteString(rest[:at[4]] + "s3://" + bucket + "/" + name + ".zip")
		rest = rest[at[5]:]
	}
	if b.Len() == 0 {
		return "", errors.New("no function of template.yaml has its CodeUri here")
	}
	return b.String() + rest, nil
}

func zipFolder(dir string) ([]byte, error) {
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		return nil, err
	}
	err := w.Close()
	return buf.Bytes(), err
}

func command(name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return nil
}

// stack is the deployed template.
type stack struct {
	name    string
	outputs map[string]string
	// db is the owner of the schema; table is the model's.
	db *pgtest.DB
	// proxy is between the function and the database.
	proxy *pgtest.Proxy
	// writer is the role of the function, and secret its login.
	writer *pgtest.DB
	secret string
}

// Settings of the queue. Tests cannot wait for those of the template.
const (
	visibility = 8 * time.Second // longer than the function tries by itself
	receives   = 8               // few, so that what is returned too often shows
)

// deploy deploys the template for a model as the docs say: two roles and their secrets, the stack,
// tables made by its migrate function, the grants. The table gets a constraint that the model does
// not know.
func deploy(t *testing.T, k kind, parameters map[string]string) *stack {
	t.Helper()
	return deployFor(t, pgtest.New(t), k, parameters)
}

// deployFor is deploy for an existing schema.
func deployFor(t *testing.T, db *pgtest.DB, k kind, parameters map[string]string) *stack {
	t.Helper()
	s, all := newStack(t, "sluice-"+strings.ToLower(rand.Text()[:8]), db, k)
	maps.Copy(all, parameters)
	s.create(t, all)
	answer, err := s.invoke(t, s.outputs["MigrateFunctionName"], nil)
	if err != nil {
		t.Fatalf("migrate: %v: %s", err, answer)
	}
	s.open(t, k)
	return s
}

// newStack makes the roles of a stack and their secrets, and returns the stack's parameters. It is
// deployed after that, so that the function is gone before the database's cleanups run.
func newStack(t *testing.T, name string, db *pgtest.DB, k kind) (s *stack, parameters map[string]string) {
	t.Helper()
	s = &stack{name: name, db: db}
	searchPath := func(role string) string { return "ALTER ROLE " + role + " SET search_path = " + s.db.Schema }
	owner := s.db.Role(t, func(role string) []string {
		return []string{searchPath(role), "GRANT CREATE ON SCHEMA " + s.db.Schema + " TO " + role}
	})
	s.writer = s.db.Role(t, func(role string) []string { return []string{searchPath(role)} })
	s.proxy = pgtest.NewProxy(t, s.writer.URL)
	s.secret = createSecret(t, s.name+"/writer", login(t, s.proxy.URL))
	return s, map[string]string{
		"Architecture":      architecture(),
		"Model":             k.model,
		"DatabaseSecretArn": s.secret,
		"MigrateSecretArn":  createSecret(t, s.name+"/owner", login(t, owner.URL)),
		"BatchSize":         "25", // so that 500 messages are many batches
	}
}

// open lets the function write into its table, which exists, and sets the queue for tests.
func (s *stack) open(t *testing.T, k kind) {
	t.Helper()
	s.db.Exec(t, fmt.Sprintf("ALTER TABLE %s ADD CONSTRAINT %s CHECK (%s)", k.model, checkName, k.check))
	s.db.Exec(t, fmt.Sprintf("GRANT INSERT ON %s TO %s", k.model, s.writer.User))
	s.db.Exec(t, fmt.Sprintf("GRANT SELECT (%s) ON %s TO %s", k.selects, k.model, s.writer.User))
	s.set(t, "VisibilityTimeout", strconv.Itoa(int(visibility.Seconds())))
	s.setReceives(t, receives)
}

// setReceives sets how often a message may be received.
func (s *stack) setReceives(t *testing.T, count int) {
	t.Helper()
	s.set(t, "RedrivePolicy", fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":%d}`, s.outputs["DeadLetterQueueArn"], count))
}

func (s *stack) set(t *testing.T, attribute, value string) {
	t.Helper()
	call(t, "sqs", "SetQueueAttributes", map[string]any{"QueueUrl": s.outputs["QueueUrl"], "Attributes": map[string]string{attribute: value}}, nil)
}

const checkName = "not_here"

// create creates the stack. Its functions end with the test.
func (s *stack) create(t *testing.T, parameters map[string]string) {
	t.Helper()
	in := map[string]string{
		"StackName": s.name, "TemplateBody": shared.template,
		"Capabilities.member.1": "CAPABILITY_IAM", "Capabilities.member.2": "CAPABILITY_AUTO_EXPAND",
	}
	n := 0
	for name, value := range parameters {
		n++
		in[fmt.Sprintf("Parameters.member.%d.ParameterKey", n)] = name
		in[fmt.Sprintf("Parameters.member.%d.ParameterValue", n)] = value
	}
	shared.creating.Lock()
	defer shared.creating.Unlock()
	began := time.Now()
	if err := shared.aws.CloudFormation(t.Context(), "CreateStack", in, nil); err != nil {
		t.Fatal(err)
	}
	s.created(t)
	t.Logf("deployed template.yaml as %s in %.1f s", s.name, time.Since(began).Seconds())
}

// created waits until the stack is complete, and reads its outputs.
func (s *stack) created(t *testing.T) {
	t.Helper()
	t.Cleanup(func() { s.remove(t) })
	s.outputs = map[string]string{}
	for _, output := range s.await(t).Outputs {
		s.outputs[output.OutputKey] = output.OutputValue
	}
}

// remove ends the mapping and the functions, so that they do not disturb the next test. LocalStack
// cannot delete the stack, since it does not find the resources that a condition left out. It
// forgets everything when it ends.
func (s *stack) remove(t *testing.T) {
	paths := []string{"/2015-03-31/functions/" + s.name + "-ingest", "/2015-03-31/functions/" + s.name + "-migrate"}
	if mapping := s.outputs["EventSourceMappingId"]; mapping != "" {
		paths = append([]string{"/2015-03-31/event-source-mappings/" + mapping}, paths...)
	}
	for _, path := range paths {
		if _, err := shared.aws.REST(context.WithoutCancel(t.Context()), "lambda", http.MethodDelete, path, nil); err != nil {
			t.Log(err) // there may be no such function
		}
	}
}

type description struct {
	StackStatus string
	Outputs     []struct{ OutputKey, OutputValue string } `xml:"Outputs>member"`
}

// await waits until the stack is complete.
func (s *stack) await(t *testing.T) description {
	t.Helper()
	var d struct {
		Stack description `xml:"DescribeStacksResult>Stacks>member"`
	}
	eventually(t, 2*time.Minute, func() string {
		d.Stack = description{}
		if err := shared.aws.CloudFormation(t.Context(), "DescribeStacks", map[string]string{"StackName": s.name}, &d); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(d.Stack.StackStatus, "_IN_PROGRESS") {
			return "the stack is " + d.Stack.StackStatus
		}
		return ""
	})
	if d.Stack.StackStatus != "CREATE_COMPLETE" {
		t.Fatalf("the stack is %s:\n%s", d.Stack.StackStatus, s.failures(t))
	}
	return d.Stack
}

// failures lists what CloudFormation could not create.
func (s *stack) failures(t *testing.T) string {
	var d struct {
		Events []struct {
			Resource             string `xml:"LogicalResourceId"`
			ResourceStatus       string
			ResourceStatusReason string
		} `xml:"DescribeStackEventsResult>StackEvents>member"`
	}
	if err := shared.aws.CloudFormation(t.Context(), "DescribeStackEvents", map[string]string{"StackName": s.name}, &d); err != nil {
		return err.Error()
	}
	var b strings.Builder
	for _, e := range d.Events {
		if strings.HasSuffix(e.ResourceStatus, "_FAILED") {
			fmt.Fprintf(&b, "  %s %s: %s\n", e.Resource, e.ResourceStatus, e.ResourceStatusReason)
		}
	}
	return b.String()
}

func (s *stack) invoke(t *testing.T, function string, event any) ([]byte, error) {
	t.Helper()
	body, err := json.Marshal(event)
	if err != nil {
		t.Fatal(err)
	}
	return shared.aws.REST(t.Context(), "lambda", http.MethodPost, "/2015-03-31/functions/"+function+"/invocations", body)
}

// renew ends the function's processes, as every change of its configuration does. The next
// invocation is a cold start.
func (s *stack) renew(t *testing.T) {
	t.Helper()
	function := "/2015-03-31/functions/" + s.outputs["IngestFunctionName"]
	if _, err := shared.aws.REST(t.Context(), "lambda", http.MethodPut, function+"/configuration", []byte(`{"Description":"renewed"}`)); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, func() string {
		answer, err := shared.aws.REST(t.Context(), "lambda", http.MethodGet, function+"/configuration", nil)
		if err != nil {
			t.Fatal(err)
		}
		var configuration struct{ LastUpdateStatus string }
		if err := json.Unmarshal(answer, &configuration); err != nil {
			t.Fatal(err)
		}
		if configuration.LastUpdateStatus != "Successful" {
			return "the update of the function is " + configuration.LastUpdateStatus
		}
		return ""
	})
}

// rotatePassword gives the function's role another password, ends its connections, calls between,
// and then updates the secret.
func (s *stack) rotatePassword(t *testing.T, between func()) {
	t.Helper()
	password := rand.Text()
	s.db.Exec(t, fmt.Sprintf("ALTER ROLE %s PASSWORD '%s'", s.writer.User, password))
	s.db.Exec(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", s.writer.User)
	between()
	rotated := login(t, s.proxy.URL)
	rotated["password"] = password
	putSecret(t, s.secret, rotated)
}

// maskKeys returns the secret of the mask keys.
func (s *stack) maskKeys(t *testing.T) map[string]string {
	t.Helper()
	var secret struct{ SecretString string }
	call(t, "secretsmanager", "GetSecretValue", map[string]string{"SecretId": s.outputs["MaskSecretArn"]}, &secret)
	keys := map[string]string{}
	if err := json.Unmarshal([]byte(secret.SecretString), &keys); err != nil {
		t.Fatalf("the secret of the mask keys: %v", err)
	}
	return keys
}

// rotateMaskKey adds a key and makes it the one that masks.
func (s *stack) rotateMaskKey(t *testing.T, id string) {
	t.Helper()
	keys := s.maskKeys(t)
	keys["primary"], keys[id] = id, rand.Text()+rand.Text()
	putSecret(t, s.outputs["MaskSecretArn"], keys)
}

// logged returns everything that the function has logged, an event a line.
func (s *stack) logged(t *testing.T) []string {
	t.Helper()
	var lines []string
	in := map[string]any{"logGroupName": "/aws/lambda/" + s.outputs["IngestFunctionName"]}
	for {
		var page struct {
			Events    []struct{ Message string }
			NextToken string
		}
		call(t, "logs", "FilterLogEvents", in, &page)
		for _, e := range page.Events {
			lines = append(lines, e.Message)
		}
		if page.NextToken == "" {
			return lines
		}
		in["nextToken"] = page.NextToken
	}
}

// metrics sums the function's metrics.
func (s *stack) metrics(t *testing.T) map[string]int {
	t.Helper()
	sums := map[string]int{}
	for _, line := range s.logged(t) {
		if !strings.Contains(line, `"_aws"`) {
			continue
		}
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("a line of metrics: %v", err)
		}
		for _, name := range []string{"Received", "Stored", "Duplicate", "Rejected", "Returned", "ColdStart"} {
			n, ok := m[name].(float64)
			if !ok {
				t.Fatalf("a line of metrics has no number %s: %s", name, line)
			}
			sums[name] += int(n)
		}
		sums["Batches"]++
	}
	return sums
}

// login returns a URL as a secret in the form of RDS.
func login(t *testing.T, databaseURL string) map[string]any {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	return map[string]any{
		"engine": "postgres", "username": u.User.Username(), "password": password,
		"host": u.Hostname(), "port": port, "dbname": strings.TrimPrefix(u.Path, "/"),
	}
}

func createSecret(t *testing.T, name string, value any) (arn string) {
	t.Helper()
	arn, err := shared.aws.CreateSecret(t.Context(), name, value)
	if err != nil {
		t.Fatal(err)
	}
	return arn
}

func putSecret(t *testing.T, arn string, value any) {
	t.Helper()
	if err := shared.aws.PutSecret(t.Context(), arn, value); err != nil {
		t.Fatal(err)
	}
}

func call(t *testing.T, service, action string, in, out any) {
	t.Helper()
	if err := shared.aws.JSON(t.Context(), service, action, in, out); err != nil {
		t.Fatal(err)
	}
}

// eventually waits until nothing is missing.
func eventually(t *testing.T, most time.Duration, missing func() string) {
	t.Helper()
	for deadline := time.Now().Add(most); ; time.Sleep(200 * time.Millisecond) {
		what := missing()
		if what == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v: %s", most, what)
		}
	}
}

// sluice runs the command line with the settings and returns its output.
func sluice(t *testing.T, stdin string, settings map[string]string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), shared.sluice, args...)
	environ := map[string]string{
		"PATH": os.Getenv("PATH"), "AWS_ENDPOINT_URL": shared.aws.Endpoint, "AWS_DEFAULT_REGION": localstack.Region,
		"AWS_ACCESS_KEY_ID": localstack.AccessKey, "AWS_SECRET_ACCESS_KEY": localstack.SecretKey,
	}
	maps.Copy(environ, settings)
	for name, value := range environ {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = strings.NewReader(stdin), io.MultiWriter(&stderr, t.Output())
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("sluice %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}
