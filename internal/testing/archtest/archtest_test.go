// Package archtest_test holds the rules that no package can check alone: who may import whom, that
// every package says what it is for, and that nothing is exported for tests only. A package that
// needs an exception gets it here, with its reason. (The linters check that tests are external and
// that no package works in init.)
package archtest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// may lists which of our packages a package may import: imports point downwards only. Every package of
// the product is in it, except the mains.
var may = map[string]struct{ imports, why string }{
	"internal/message":  {"", "the leaf: the two nouns that all others share"},
	"internal/mask":     {"", "the only code that can read a personal value: to be read, and checked, alone"},
	"internal/fault":    {"internal/message", "the one error for what sluice depends on"},
	"internal/wait":     {"", "pauses between tries"},
	"internal/batch":    {"", "what model fills and a store reads, so it knows neither"},
	"internal/jsonscan": {"", "the one way through JSON that is checked: sqsevent and model share it"},

	"internal/sqsevent": {"internal/jsonscan internal/message", "the contract with the event source mapping, and nothing else"},
	"internal/model":    {"internal/batch internal/jsonscan internal/mask internal/message", "the policy knows no store and no queue"},
	"internal/infer":    {"internal/batch internal/mask internal/message internal/model", "it tries values on models, and reads a table's columns"},
	"internal/ingest":   {"internal/batch internal/fault internal/mask internal/message internal/model", "the pipeline declares what a store must do"},
	"internal/handler":  {"internal/fault internal/ingest internal/mask internal/message internal/sqsevent", "the function without Lambda, SQL and AWS"},
	"internal/config":   {"internal/mask internal/model models", "the environment, checked; what it means is done elsewhere"},
	"internal/emf":      {"internal/ingest internal/message", "one line for each report"},

	"internal/postgres": {"internal/batch internal/message internal/credentials/login internal/fault internal/wait", "a store gets a batch and a table, never a model or a raw value; it connects with a login, and trusts RDS"},
	"internal/sqlite":   {"internal/batch internal/message internal/fault internal/wait", "a store gets a batch and a table, never a model or a raw value"},

	"internal/credentials/login": {"", "who connects; stores and credentials share it"},
	"internal/credentials":       {"internal/credentials/login internal/mask internal/message internal/fault", "secrets and tokens become logins and keyrings"},
	"internal/sqs":               {"internal/message internal/credentials internal/fault internal/wait", "the calls of SQS; of credentials it needs the form of a region and what AWS answers"},

	"internal/check":           {"internal/batch internal/fault internal/mask internal/message internal/model internal/postgres internal/sqs", "it looks at databases and queues, as the store does, and stores nothing"},
	"internal/deadletters":     {"internal/fault internal/message internal/sqs", "it moves messages between queues, without a model or a store"},
	"internal/consume":         {"internal/fault internal/ingest internal/mask internal/message internal/sqs internal/wait", "a poller and the pipeline, without a store"},
	"internal/consume/metrics": {"internal/consume internal/message internal/sqs", "what consume reports, for Prometheus"},
	"internal/app":             {"internal/batch internal/config internal/credentials internal/emf internal/fault internal/handler internal/ingest internal/mask internal/message internal/postgres internal/sqs", "it assembles what the mains run"},

	"internal/testing/localpg":    {"", "a Postgres server, which knows nothing of sluice"},
	"internal/testing/esmsim":     {"", "a simulator of AWS that shares no code, and so no mistake, with what it tests"},
	"internal/testing/runtimeapi": {"", "the same, of Lambda"},
	"internal/testing/pgtest":     {"internal/testing/localpg", "it knows nothing of sluice's tables"},

	"events": {"", "data"},
	"models": {"", "data"},
}

// only lists packages that not everybody may import, and who may (nobody, if by is empty: not even
// tests). A pattern that ends in /... stands for a package and all below it. The first row that
// matches a package decides.
var only = []struct{ imports, by, why string }{
	{"log", "", "log/slog, through a logger that is passed"},
	{"math/rand", "", "math/rand/v2 for jitter, crypto/rand for what nobody may guess"},
	{"io/ioutil", "", "os and io have it"},
	{"github.com/pkg/errors", "", "errors, and fmt.Errorf with %w"},
	{"github.com/lib/pq", "", "pgx is the one driver"},

	// jsontext is strict. encoding/json takes the last of two equal keys, matches keys in any case,
	// repairs broken UTF-8, and quotes values in its errors.
	{"encoding/json", "internal/check internal/postgres internal/sqlite internal/sqs " + wing, "jsontext reads messages"},
	{"database/sql", "internal/sqlite " + wing, "the stores have the SQL"},
	{"github.com/jackc/pgx/...", "internal/postgres internal/check internal/infer cmd/... " + wing, "the stores have the SQL"},
	{"modernc.org/...", "internal/sqlite", "one package links SQLite"},
	{"github.com/fergusstrange/embedded-postgres", "internal/testing/localpg", "one package fetches Postgres"},

	{"github.com/aws/aws-lambda-go/events", "internal/testing/benchmark/usual", "the function that one writes without sluice"},
	{"github.com/aws/aws-lambda-go/...", "functions/...", "only the mains know Lambda's runtime"},
	{"github.com/aws/aws-sdk-go-v2/config/...", "cmd/...", "profiles, SSO and the like: a function has none, and its cold starts would pay for them"},
	{"github.com/aws/aws-sdk-go-v2/...", "internal/sqs internal/credentials internal/testing/sqstest cmd/... functions/...", "AWS stays in the packages that are about it"},
	{"github.com/aws/smithy-go/...", "internal/sqs internal/credentials internal/testing/sqstest cmd/... functions/...", "AWS stays in the packages that are about it"},

	{"github.com/prometheus/...", "internal/consume/metrics cmd/...", "Lambda has internal/emf"},
	{"github.com/alecthomas/kong", "cmd/...", "a library of the command line"},
	{"github.com/jotaen/kong-completion", "cmd/...", "a library of the command line"},
	{"github.com/posener/complete", "cmd/...", "a library of the command line"},
	{"github.com/olekukonko/...", "cmd/...", "a library of the command line"},
	{"github.com/schollz/progressbar/...", "cmd/...", "a library of the command line"},
	{"github.com/goccy/go-yaml/...", "internal/model", "model files are the only YAML"},
	{"github.com/caarlos0/env/...", "internal/config", "one package reads the environment"},

	{"example.com/owner/sluice/internal/testing/localpg", "cmd/sluice " + wing, "the demo brings its own server, as the tests do"},
	{"example.com/owner/sluice/internal/app", "functions/... cmd/...", "it assembles what the mains run"},
	{"example.com/owner/sluice/internal/testing/...", wing, "for tests"},
	{"example.com/owner/sluice/test/...", "test/...", "for tests"},
	{"testing", wing, "for tests"},
	{"github.com/google/go-cmp/...", wing, "for tests; it panics by design"},
	{"github.com/rogpeppe/go-internal/...", wing, "for tests"},
}

// wing is what only tests use.
const wing = "internal/testing/... test/..."

const module = "example.com/owner/sluice"

// pkg is what go list prints about a package.
type pkg struct {
	ImportPath   string
	Dir          string
	Doc          string
	Imports      []string
	TestImports  []string
	XTestImports []string
	GoFiles      []string
	CgoFiles     []string
	TestGoFiles  []string
	XTestGoFiles []string
}

// name is the import path within the module.
func (p pkg) name() string { return strings.TrimPrefix(p.ImportPath, module+"/") }

func (p pkg) files() []string {
	return slices.Concat(p.GoFiles, p.CgoFiles, p.TestGoFiles, p.XTestGoFiles)
}

func list(t *testing.T) (all []pkg) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Dir,Doc,Imports,TestImports,XTestImports,GoFiles,CgoFiles,TestGoFiles,XTestGoFiles", module+"/...")
	out, err := cmd.Output()
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		t.Fatalf("go list: %v: %s", err, failed.Stderr)
	} else if err != nil {
		t.Fatal(err)
	}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// matches reports whether one of the patterns means the package.
func matches(name, patterns string) bool {
	for pattern := range strings.FieldsSeq(patterns) {
		below, all := strings.CutSuffix(pattern, "/...")
		if name == pattern || all && (name == below || strings.HasPrefix(name, below+"/")) {
			return true
		}
	}
	return false
}

func parse(t *testing.T, p pkg, name string) *ast.File {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func TestImports(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, p := range list(t) {
		seen[p.name()] = true
		rule, ruled := may[p.name()]
		if !ruled && strings.HasPrefix(p.name(), "internal/") && !matches(p.name(), wing) {
			t.Errorf("%s has no rule of what it may import", p.name())
		}
		for _, imported := range p.Imports {
			if own, ok := strings.CutPrefix(imported, module+"/"); ok && ruled && !matches(own, rule.imports) {
				t.Errorf("%s imports %s and may import %q only (%s)", p.name(), own, rule.imports, rule.why)
			}
			for _, o := range only {
				if !matches(imported, o.imports) {
					continue
				}
				if !matches(p.name(), o.by) {
					t.Errorf("%s imports %s, which is for %q (%s)", p.name(), imported, o.by, o.why)
				}
				break
			}
		}
		for _, imported := range slices.Concat(p.TestImports, p.XTestImports) {
			for _, o := range only {
				if o.by == "" && matches(imported, o.imports) {
					t.Errorf("a test of %s imports %s (%s)", p.name(), imported, o.why)
				}
			}
		}
	}
	for name := range may {
		if !seen[name] {
			t.Errorf("there is no package %s: remove or rename its rule", name)
		}
	}
}

func TestMatches(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, patterns string
		want           bool
	}{
		{"internal/batch", "internal/batch", true},
		{"internal/batch", "internal/mask internal/batch", true},
		{"internal/batch", "", false},
		{"internal/batchy", "internal/batch/...", false},
		{"internal/batch", "internal/batch/...", true},
		{"internal/batch/x", "internal/batch/...", true},
		{"internal/batch/x", "internal/batch", false},
		{"github.com/aws/aws-sdk-go-v2/service/sqs", "github.com/aws/aws-sdk-go-v2/...", true},
		{"testing/synctest", "testing", false},
	} {
		if got := matches(tt.name, tt.patterns); got != tt.want {
			t.Errorf("matches(%q, %q) = %v", tt.name, tt.patterns, got)
		}
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	t.Parallel()
	for _, p := range list(t) {
		documented := p.Doc != ""
		if len(p.GoFiles) == 0 { // go list leaves out the documentation of a package of tests
			documented = slices.ContainsFunc(p.files(), func(name string) bool { return parse(t, p, name).Doc.Text() != "" })
		}
		if !documented {
			t.Errorf("%s has no package documentation", p.name())
		}
	}
}
