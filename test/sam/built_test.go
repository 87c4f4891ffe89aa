package sam_test

import (
	"archive/zip"
	"bytes"
	"debug/buildinfo"
	"debug/elf"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The tests of this file look at what test/sam/run.sh has made. `make sam-test` runs them.

func needs(t *testing.T, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Skipf("SKIPPED: %s is not set; `make sam-test` runs this", name)
	}
	return value
}

// TestBuilt checks that the binaries of `sam build` are for the machine that the template names with the
// parameters that the build wrote, static and without cgo. TEST_SAM_ARCH is the architecture.
func TestBuilt(t *testing.T) {
	build, architecture := needs(t, "TEST_SAM_BUILD"), needs(t, "TEST_SAM_ARCH")
	machine := map[string]elf.Machine{"arm64": elf.EM_AARCH64, "x86_64": elf.EM_X86_64}[architecture]
	parameters, err := os.ReadFile(filepath.Join(build, "parameters.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	written, ok := strings.CutPrefix(strings.TrimSpace(string(parameters)), "- Architecture=")
	if !ok {
		t.Fatalf("parameters.yaml is %s", parameters)
	}
	built := resolve(readTemplateFile(t, filepath.Join(build, "template.yaml")), map[string]string{"DatabaseSecretArn": writerSecret, "Architecture": written})
	if n := len(built.ofKind("AWS::Serverless::Function")); n != 2 {
		t.Fatalf("the built template has %d functions", n)
	}
	for _, fn := range built.ofKind("AWS::Serverless::Function") {
		path := filepath.Join(build, fn.id, text(fn.properties["Handler"]))
		binary, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		f, err := elf.NewFile(bytes.NewReader(binary))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if f.Machine != machine || f.Class != elf.ELFCLASS64 {
			t.Errorf("%s is for %s, not for %s", fn.id, f.Machine, architecture)
		}
		if said := texts(fn.properties["Architectures"]); !slices.Equal(said, []string{architecture}) {
			t.Errorf("%s is for %s, the template says %v", fn.id, f.Machine, said)
		}
		if libraries, _ := f.ImportedLibraries(); len(libraries) > 0 || f.Section(".interp") != nil {
			t.Errorf("%s is not static: it needs %v", fn.id, libraries)
		}
		info, err := buildinfo.Read(bytes.NewReader(binary))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		settings := map[string]string{}
		for _, s := range info.Settings {
			settings[s.Key] = s.Value
		}
		if settings["CGO_ENABLED"] != "0" || settings["-trimpath"] != "true" || !strings.Contains(settings["-tags"], "lambda.norpc") {
			t.Errorf("%s is built with %v", fn.id, settings)
		}
		for _, dependency := range info.Deps {
			for _, heavy := range []string{"modernc.org/", "github.com/prometheus/", "github.com/alecthomas/kong", "github.com/fergusstrange/"} {
				if strings.HasPrefix(dependency.Path, heavy) {
					t.Errorf("%s links %s", fn.id, dependency.Path)
				}
			}
		}
		t.Logf("%-16s %-7s static, %.1f MB, zip %.1f MB", fn.id, architecture, float64(len(binary))/1e6, float64(zipped(t, binary))/1e6)
	}
}

func zipped(t *testing.T, binary []byte) int {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create("bootstrap")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(binary); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Len()
}

// TestSamAddsNothing checks that the template leaves nothing out: SAM's transform would add resources of
// its own (roles with managed policies, permissions).
func TestSamAddsNothing(t *testing.T) {
	text, err := os.ReadFile(needs(t, "TEST_SAM_TRANSFORMED"))
	if err != nil {
		t.Fatal(err)
	}
	var transformed template
	if err := json.Unmarshal(text, &transformed); err != nil {
		t.Fatal(err)
	}
	got := slices.Sorted(maps.Keys(object(transformed["Resources"])))
	want := slices.Sorted(maps.Keys(object(readTemplate(t)["Resources"])))
	if !slices.Equal(got, want) {
		t.Errorf("after the transform there are\n%v, not\n%v", got, want)
	}
	for _, id := range got {
		if kind := at(transformed, "Resources", id, "Type"); strings.HasPrefix(kind.(string), "AWS::Serverless::") {
			t.Errorf("%s is still a %s", id, kind)
		}
	}
	for _, id := range []string{"IngestFunction", "MigrateFunction"} {
		if role := at(transformed, "Resources", id, "Properties", "Role", "Fn::GetAtt", 0); role != strings.TrimSuffix(id, "Function")+"Role" {
			t.Errorf("%s has the role %v", id, role)
		}
	}
}
