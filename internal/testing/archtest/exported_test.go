package archtest_test

import (
	"go/ast"
	"path"
	"slices"
	"strings"
	"testing"
)

// forTests are exported names of the product that only tests use, each with the reason why
// export_test.go cannot give them out: another package's tests, or the wing, use them.
var forTests = map[string]string{
	"internal/config.Variables":       "the template declares each of them, and no other",
	"internal/emf.Metrics":            "the template's dashboard and alarms use no other",
	"internal/emf.Namespace":          "the same",
	"internal/message.ReasonConflict": "tests of several packages make verdicts, and the stores have message.ConflictWith",
	"internal/model.NewSet":           "tests of several packages make sets of models that are in no file",
	"internal/postgres.WithClock":     "the drills turn the clock",
	"internal/postgres.WithSleep":     "the drills turn the clock",
	"internal/sqs.FirstDelay":         "the docs say it",
	"internal/sqs.FromConfig":         "sqstest gives out clients of its server",
	"internal/sqs.NoteAttribute":      "the drills read it from the dead-letter queue",
}

// TestNothingIsExportedForTests compares names, not types: a method counts as used by the product if
// the product selects that name of anything. So it finds most, and never complains without reason.
func TestNothingIsExportedForTests(t *testing.T) {
	t.Parallel()
	declared := map[string]string{} // the name, or the method's name, by the name in full
	inProduct, inTests := map[string]bool{}, map[string]bool{}
	for _, p := range list(t) {
		tests := slices.Concat(p.TestGoFiles, p.XTestGoFiles)
		for _, name := range p.files() {
			file := parse(t, p, name)
			used := inProduct
			if slices.Contains(tests, name) || matches(p.name(), wing) {
				used = inTests
			} else if file.Name.Name != "main" {
				declare(declared, p.name(), file)
			}
			use(used, file)
		}
	}
	for full, selected := range declared {
		if inTests[selected] && !inProduct[selected] && forTests[full] == "" {
			t.Errorf("only tests use %s: unexport it, and give it out in export_test.go if they must", full)
		}
	}
	for full := range forTests {
		if selected, ok := declared[full]; !ok || inProduct[selected] || !inTests[selected] {
			t.Errorf("%s needs no exception any more: remove it", full)
		}
	}
}

// declare adds the exported functions, methods, variables and constants of a file. Types are left
// out: they are mostly used without being named.
func declare(declared map[string]string, pkg string, file *ast.File) {
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if !d.Name.IsExported() {
				continue
			}
			if d.Recv == nil {
				declared[pkg+"."+d.Name.Name] = pkg + "." + d.Name.Name
				continue
			}
			receiver := d.Recv.List[0].Type
			if pointer, ok := receiver.(*ast.StarExpr); ok {
				receiver = pointer.X
			}
			if of, ok := receiver.(*ast.Ident); ok && of.IsExported() {
				declared[pkg+"."+of.Name+"."+d.Name.Name] = "." + d.Name.Name
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				if value, ok := spec.(*ast.ValueSpec); ok {
					for _, name := range value.Names {
						if name.IsExported() {
							declared[pkg+"."+name.Name] = pkg + "." + name.Name
						}
					}
				}
			}
		}
	}
}

// use adds what a file selects: the names of our packages, and every selected name after a dot.
func use(used map[string]bool, file *ast.File) {
	imports := map[string]string{}
	for _, i := range file.Imports {
		imported := strings.Trim(i.Path.Value, `"`)
		name := path.Base(imported)
		if i.Name != nil {
			name = i.Name.Name
		}
		if own, ok := strings.CutPrefix(imported, module+"/"); ok {
			imports[name] = own
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			used["."+s.Sel.Name] = true
			if x, ok := s.X.(*ast.Ident); ok && imports[x.Name] != "" {
				used[imports[x.Name]+"."+s.Sel.Name] = true
			}
		}
		return true
	})
}
