// Package archtest_test holds the rules that no single package can: who may
// import whom, that every package says what it is for, and that none works
// before main. A new package that needs an exception gets it here, with its
// reason.
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

// may says which of our own packages a package may import: imports point
// downwards only. Packages that are not listed may import any that are below
// the mains.
var may = map[string]struct{ imports, why string }{
	"internal/message": {"", "the leaf: the two nouns that all others share"},
	"internal/mask":    {"", "the only code that can read a personal value: to be read, and checked, alone"},
	"internal/fault":   {"internal/message", "the one error for what sluice depends on"},
	"internal/wait":    {"", "pauses between tries"},
	"internal/batch":   {"", "what model fills and a store reads, so it knows neither"},

	"internal/sqsevent": {"internal/message", "the contract with the event source mapping, and nothing else"},
	"internal/model":    {"internal/batch internal/mask internal/message", "the policy knows no store and no queue"},
	"internal/ingest":   {"internal/batch internal/mask internal/message internal/model", "the pipeline declares what a store must do"},
	"internal/handler":  {"internal/ingest internal/mask internal/message internal/sqsevent", "the function without Lambda, SQL and AWS"},
	"internal/config":   {"internal/mask internal/model models", "the environment, checked; what it means is done elsewhere"},
	"internal/emf":      {"internal/ingest internal/message", "one line for each report"},

	"internal/postgres": {"internal/batch internal/message internal/credentials/login internal/rdsroots internal/fault internal/wait", "a store gets a batch and a table, never a model or a raw value; it connects with a login, and trusts RDS"},
	"internal/sqlite":   {"internal/batch internal/message internal/fault internal/wait", "a store gets a batch and a table, never a model or a raw value"},

	"internal/credentials/login": {"", "who connects; stores and credentials share it"},
	"internal/rdsroots":          {"", "certificates"},
	"internal/region":            {"", "one form, for everybody who calls AWS"},
	"internal/credentials":       {"internal/credentials/login internal/mask internal/message internal/region internal/fault", "secrets and tokens become logins and keyrings"},
	"internal/sqs":               {"internal/message internal/region internal/fault internal/wait", "the calls of SQS"},

	"internal/localpg":            {"", "a server of Postgres, of anybody's"},
	"internal/testing/esmsim":     {"", "a simulator of AWS that shares no code, and so no mistake, with what it tests"},
	"internal/testing/runtimeapi": {"", "the same, of Lambda"},
	"internal/testing/pgtest":     {"internal/localpg", "it knows nothing of sluice's tables"},

	"events": {"", "data"},
	"models": {"", "data"},
}

// only says who may import packages that not everybody may. A pattern that
// ends in /... stands for a package and all below it.
var only = []struct{ imports, by, why string }{
	{"github.com/aws/aws-lambda-go/...", "functions/...", "only the mains know Lambda's runtime"},
	{"github.com/aws/aws-sdk-go-v2/...", "internal/sqs internal/testing/sqstest internal/credentials cmd/... functions/...", "AWS stays behind the packages that are about it"},
	{"github.com/aws/aws-sdk-go-v2/config/...", "cmd/...", "profiles, SSO and the like: a function has none, and its cold starts would pay for them"},
	{"github.com/aws/smithy-go/...", "internal/sqs internal/testing/sqstest internal/credentials cmd/... functions/...", "the same"},
	{"github.com/fergusstrange/embedded-postgres", "internal/localpg", "one package fetches Postgres"},
	{"modernc.org/...", "internal/sqlite", "one package links SQLite"},
	{"github.com/prometheus/...", "internal/consume/metrics cmd/...", "Lambda has internal/emf"},
	{"github.com/alecthomas/kong", "cmd/...", "a library of the command line"},
	{"github.com/olekukonko/...", "cmd/...", "a library of the command line"},
	{"github.com/schollz/progressbar/...", "cmd/...", "a library of the command line"},
	{"github.com/goccy/go-yaml/...", "internal/model", "model files are the only YAML"},
	{"github.com/caarlos0/env/...", "internal/config", "one package reads the environment"},

	{"sluice/internal/localpg", "cmd/... internal/testing/pgtest test/...", "a server of one's own is for the demo and for tests"},
	{"sluice/internal/function", "functions/... cmd/...", "it assembles the function: the mains'"},
	{"testing", testHelpers, "for tests"},
	{"github.com/google/go-cmp/...", testHelpers, "for tests"},
	{"github.com/rogpeppe/go-internal/...", testHelpers, "for tests"},
	{"sluice/internal/testing/pgtest", testHelpers, "for tests"},
	{"sluice/internal/testing/storetest", testHelpers, "for tests"},
	{"sluice/internal/testing/esmsim", testHelpers, "for tests"},
	{"sluice/internal/testing/runtimeapi", testHelpers, "for tests"},
	{"sluice/internal/testing/sqstest", testHelpers, "for tests"},
	{"sluice/internal/testing/testdoc", testHelpers, "for tests"},
	{"sluice/internal/testing/testlog", testHelpers, "for tests"},
}

// testHelpers are packages that only tests import, or that are tests.
const testHelpers = "internal/testing/pgtest internal/testing/storetest internal/testing/esmsim internal/testing/runtimeapi internal/testing/sqstest internal/testing/testdoc internal/testing/testlog test/..."

const module = "sluice"

// pkg is what go list says of a package.
type pkg struct {
	ImportPath   string
	Dir          string
	Doc          string
	Imports      []string // not those of tests
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
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Dir,Doc,Imports,GoFiles,CgoFiles,TestGoFiles,XTestGoFiles", module+"/...")
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

// matches says whether a package is one of the patterns.
func matches(name, patterns string) bool {
	for pattern := range strings.FieldsSeq(patterns) {
		below, all := strings.CutSuffix(pattern, "/...")
		if name == pattern || all && (name == below || strings.HasPrefix(name, below+"/")) {
			return true
		}
	}
	return false
}

func TestImports(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, p := range list(t) {
		seen[p.name()] = true
		rule, ruled := may[p.name()]
		for _, imported := range p.Imports {
			if own, ok := strings.CutPrefix(imported, module+"/"); ok && ruled && !matches(own, rule.imports) {
				t.Errorf("%s imports %s and may import %q only (%s)", p.name(), own, rule.imports, rule.why)
			}
			for _, o := range only {
				if matches(imported, o.imports) && !matches(p.name(), o.by) {
					t.Errorf("%s imports %s, which is for %s (%s)", p.name(), imported, o.by, o.why)
				}
			}
		}
	}
	for _, name := range []string{"internal/message", "internal/mask", "internal/batch", "internal/model", "internal/ingest", "internal/postgres", "internal/sqsevent", "functions/ingest", "cmd/sluice"} {
		if !seen[name] {
			t.Errorf("there is no package %s; rename it in the rules as well", name)
		}
	}
}

// TestMatches guards the guard.
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

// TestEveryPackageSaysWhatItIsFor and none does anything before main: work in
// init cannot be tested, ordered or left out.
func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	t.Parallel()
	for _, p := range list(t) {
		documented := p.Doc != ""
		for _, name := range p.files() {
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			documented = documented || len(p.GoFiles) == 0 && file.Doc.Text() != ""
			for _, d := range file.Decls {
				if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
					t.Errorf("%s/%s: work in init", p.name(), name)
				}
			}
		}
		if !documented {
			t.Errorf("%s has no package documentation", p.name())
		}
	}
}

// TestTestsAreExternal: they see what an importer sees. What a test needs of
// the inside is named in export_test.go.
func TestTestsAreExternal(t *testing.T) {
	t.Parallel()
	for _, p := range list(t) {
		for _, name := range p.TestGoFiles {
			if !strings.HasPrefix(name, "export_") {
				t.Errorf("%s/%s is a test inside of its package", p.name(), name)
			}
		}
	}
}
