package main_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	modzip "golang.org/x/mod/zip"

	"example.com/owner/sluice/test/dist"
)

const root = "../.."

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestPackagedTemplate checks that the package has the template with another code, and nothing else
// changed, that its files are in the repository, and that samconfig.toml keeps all that deploys.
func TestPackagedTemplate(t *testing.T) {
	t.Parallel()
	template := readFile(t, root+"/template.yaml")
	packaged, included, err := main.PackageTemplate(template, "x86_64")
	if err != nil {
		t.Fatal(err)
	}
	wantLost := []string{
		"      CodeUri: .", "      CodeUri: .", "      BuildMethod: makefile", "      BuildMethod: makefile",
		"    AllowedValues: [arm64, x86_64]", "    # No default: it might not match the binaries. sam build sets it.",
		"    Description: The functions' processor, for which the binaries are built (sam build writes it to .aws-sam/build/parameters.yaml).",
	}
	wantNew := []string{
		"      CodeUri: ingest.zip", "      CodeUri: migrate.zip", "    AllowedValues: [x86_64]", "    Default: x86_64",
		"    Description: The processor for which the zips are compiled.",
	}
	for _, tt := range []struct{ from, less, want []string }{
		{strings.Split(template, "\n"), strings.Split(packaged, "\n"), wantLost},
		{strings.Split(packaged, "\n"), strings.Split(template, "\n"), wantNew},
	} {
		got := difference(tt.from, tt.less)
		// That of a function goes if nothing else is in it; the linters of dist-test look at the whole.
		got = slices.DeleteFunc(got, func(line string) bool { return line == "    Metadata:" })
		slices.Sort(tt.want)
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("what the package changes of template.yaml (-want +got):\n%s", diff)
		}
	}
	for _, name := range included {
		readFile(t, filepath.Join(root, name))
	}
	if n := strings.Count(template, "Location: "); n != len(included) {
		t.Errorf("the template includes %d files, the package %q", n, included)
	}

	config := readFile(t, root+"/samconfig.toml")
	short := main.PackageConfig(config)
	settings := regexp.MustCompile(`(?m)^\[.*(global|deploy)\.parameters\]|^(stack_name|capabilities|resolve_s3|confirm_changeset|fail_on_empty_changeset|tags|parameter_overrides) = .*`)
	if got, want := settings.FindAllString(short, -1), settings.FindAllString(strings.ReplaceAll(withoutLocal(config), ".aws-sam/build/", ""), -1); !slices.Equal(got, want) {
		t.Errorf("samconfig.toml of the package (-want +got):\n%s", cmp.Diff(want, got))
	}
	if found := regexp.MustCompile(`aws-sam|local|build`).FindString(short); found != "" {
		t.Errorf("samconfig.toml of the package speaks of %s:\n%s", found, short)
	}
}

// TestPackagedParameters checks that a gradual deployment of the package has a Revision, which the
// template demands, and that the parameters of a user can be between it and the architecture.
func TestPackagedParameters(t *testing.T) {
	t.Parallel()
	var given []string
	for line := range strings.Lines(main.PackageParameters("v1.2.3", "x86_64")) {
		if !strings.HasPrefix(line, "#") {
			given = append(given, strings.TrimSuffix(line, "\n"))
		}
	}
	if want := []string{"- Revision=v1.2.3", "- Architecture=x86_64"}; !slices.Equal(given, want) {
		t.Errorf("parameters.yaml has %q, not %q", given, want)
	}
}

// difference returns the lines of one text that the other has less often, sorted.
func difference(one, other []string) (lines []string) {
	count := map[string]int{}
	for _, line := range other {
		count[line]++
	}
	for _, line := range one {
		if count[line]--; count[line] < 0 {
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return lines
}

// withoutLocal leaves out the sections of sam local.
func withoutLocal(config string) string {
	return regexp.MustCompile(`(?m)^\[\w+\.local_\w+\.parameters\]\n([^\[\n].*\n)*`).ReplaceAllString(config, "")
}

// The tests below look at what test/dist/run.sh has made with `make dist`, as a release does.

func needs(t *testing.T, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Skipf("SKIPPED: %s is not set; `make dist-test` runs this", name)
	}
	return value
}

// TestReproducible checks that two clones make the same files.
func TestReproducible(t *testing.T) {
	one, other := needs(t, "TEST_DIST"), needs(t, "TEST_DIST_AGAIN")
	if diff := cmp.Diff(sums(t, one), sums(t, other)); diff != "" {
		t.Errorf("two clones make other files (-one +other):\n%s", diff)
	}
}

// sums returns the sums of all files but SHA256SUMS, and checks that they are in it.
func sums(t *testing.T, dir string) map[string]string {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	listed := ""
	for _, file := range files {
		if file.Name() == "SHA256SUMS" {
			continue
		}
		sum := fmt.Sprintf("%x", sha256.Sum256([]byte(readFile(t, filepath.Join(dir, file.Name())))))
		all[file.Name()] = sum
		listed += sum + "  " + file.Name() + "\n"
	}
	if diff := cmp.Diff(readFile(t, filepath.Join(dir, "SHA256SUMS")), listed); diff != "" {
		t.Errorf("%s/SHA256SUMS (-it +files):\n%s", dir, diff)
	}
	return all
}

// TestArchives checks what is in each file: the licences of all that is linked into its programs, and an
// SBOM that names the same modules.
func TestArchives(t *testing.T) {
	dir := needs(t, "TEST_DIST")
	names := slices.Sorted(maps.Keys(sums(t, dir)))
	var kinds []string
	for _, name := range names {
		kinds = append(kinds, regexp.MustCompile(`_(linux|darwin)_\w+|_(arm64|x86_64)`).ReplaceAllString(strings.ReplaceAll(name, "sluice_"+needs(t, "TEST_DIST_VERSION"), "sluice"), ""))
	}
	slices.Sort(kinds)
	want := []string{
		main.NoticesFile, "sluice.cdx.json", "sluice.tar.gz", "sluice_lambda_ingest.cdx.json", "sluice_lambda_ingest.zip",
		"sluice_lambda_migrate.cdx.json", "sluice_lambda_migrate.zip", "sluice_sam.tar.gz",
	}
	if got := slices.Compact(kinds); !slices.Equal(got, want) {
		t.Errorf("there are %q, want %q", got, want)
	}
	for _, name := range names {
		var files map[string][]byte
		switch {
		case strings.HasSuffix(name, ".tar.gz"):
			files = untar(t, filepath.Join(dir, name))
		case strings.HasSuffix(name, ".zip"):
			files = unzip(t, []byte(readFile(t, filepath.Join(dir, name))))
		default:
			continue
		}
		notices := string(files[main.NoticesFile])
		programs := map[string][]byte{}
		for file, data := range files {
			switch path.Ext(file) {
			case "":
				if file != "LICENSE" {
					programs[file] = data
				}
			case ".zip":
				programs[file] = unzip(t, data)["bootstrap"]
			}
		}
		if len(programs) == 0 || len(files["LICENSE"]) == 0 {
			t.Errorf("%s has %q", name, slices.Sorted(maps.Keys(files)))
		}
		for program, data := range programs {
			info, err := buildinfo.Read(bytes.NewReader(data))
			if err != nil {
				t.Fatalf("%s: %s: %v", name, program, err)
			}
			linked := map[string]bool{}
			for _, m := range info.Deps {
				linked[m.Path+" "+m.Version] = true
				if _, text, ok := strings.Cut(notices, "\n"+m.Path+" "+m.Version+": "); !ok || len(text) < 200 {
					t.Errorf("%s: %s has %s %s, and the notices have not", name, program, m.Path, m.Version)
				}
			}
			if len(linked) < 10 || !strings.Contains(notices, "\nGo and its standard library: LICENSE\n") {
				t.Errorf("%s: %s has the modules %v", name, program, linked)
			}
			if strings.Contains(name, "_sam_") {
				continue // the function's own archive has its SBOM
			}
			if diff := cmp.Diff(linked, components(t, filepath.Join(dir, strings.TrimSuffix(strings.TrimSuffix(name, ".zip"), ".tar.gz")+".cdx.json"))); diff != "" {
				t.Errorf("%s: its SBOM (-linked +SBOM):\n%s", name, diff)
			}
		}
	}
}

// components returns the modules of an SBOM, and checks that it has the standard library.
func components(t *testing.T, file string) map[string]bool {
	t.Helper()
	var sbom struct {
		BomFormat  string `json:"bomFormat"`
		Components []struct{ Name, Version string }
	}
	if err := json.Unmarshal([]byte(readFile(t, file)), &sbom); err != nil || sbom.BomFormat != "CycloneDX" {
		t.Fatalf("%s: %v: %q", file, err, sbom.BomFormat)
	}
	modules := map[string]bool{}
	for _, c := range sbom.Components {
		modules[c.Name+" "+c.Version] = true
	}
	if std := "std " + runtime.Version(); !modules[std] {
		t.Errorf("%s has no %s", file, std)
	}
	maps.DeleteFunc(modules, func(name string, _ bool) bool { return strings.HasPrefix(name, "std ") })
	return modules
}

// TestTheArchiveRuns runs the command line of this machine's archive, as somebody who has nothing else.
func TestTheArchiveRuns(t *testing.T) {
	version := needs(t, "TEST_DIST_VERSION")
	files := untar(t, filepath.Join(needs(t, "TEST_DIST"), fmt.Sprintf("sluice_%s_%s_%s.tar.gz", version, runtime.GOOS, runtime.GOARCH)))
	dir := t.TempDir()
	program := filepath.Join(dir, "sluice")
	if err := os.WriteFile(program, files["sluice"], 0o700); err != nil {
		t.Fatal(err)
	}
	runs(t, program, version)
}

// runs checks that a program has its version, and does the whole job.
func runs(t *testing.T, program, version string) {
	t.Helper()
	for _, tt := range []struct{ arguments, want string }{
		{"version", "sluice " + version + " "},
		{"demo --database sqlite:", "refused_by_database"},
	} {
		cmd := exec.CommandContext(t.Context(), program, strings.Fields(tt.arguments)...)
		cmd.Dir = t.TempDir()
		cmd.Env = []string{"HOME=" + cmd.Dir, "PATH=" + cmd.Dir}
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), tt.want) {
			t.Errorf("sluice %s: %v: %s", tt.arguments, err, out)
		}
	}
}

// TestTheModuleInstalls serves the module as a proxy does, as the zip file that Go makes of a commit, and
// installs the command line from it with an empty module cache. Only what is in that zip file can be
// embedded. The dependencies come from this machine's cache, which has what the repository was built of.
func TestTheModuleInstalls(t *testing.T) {
	clone := needs(t, "TEST_DIST_CLONE")
	version := module.Version{Path: modfile.ModulePath([]byte(readFile(t, root+"/go.mod"))), Version: "v0.0.1"}
	proxy := t.TempDir()
	escaped, err := module.EscapePath(version.Path)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(proxy, filepath.FromSlash(escaped), "@v")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	var zipped bytes.Buffer
	if err := modzip.CreateFromVCS(&zipped, version, clone, "HEAD", ""); err != nil {
		t.Fatal(err)
	}
	t.Logf("the module's zip file has %d kB", zipped.Len()/1000)
	for name, text := range map[string]string{
		"list": version.Version, version.Version + ".info": `{"Version": "` + version.Version + `"}`,
		version.Version + ".mod": readFile(t, filepath.Join(clone, "go.mod")), version.Version + ".zip": zipped.String(),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cache, err := exec.CommandContext(t.Context(), "go", "env", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "go", "install", version.Path+"/cmd/sluice@"+version.Version)
	cmd.Dir = t.TempDir()
	cmd.Env = append(cmd.Environ(), "GOBIN="+bin, "GOMODCACHE="+t.TempDir(), "GOFLAGS=-modcacherw -trimpath", "CGO_ENABLED=0", "GOSUMDB=off",
		"GOPROXY=file://"+proxy+",file://"+strings.TrimSpace(string(cache))+"/cache/download")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	runs(t, filepath.Join(bin, "sluice"), version.Version)
}

// untar returns the files of an archive by their names in its one folder, and checks that it could be
// made anywhere: by name, of one time, of nobody.
func untar(t *testing.T, file string) map[string][]byte {
	t.Helper()
	compressed, err := gzip.NewReader(strings.NewReader(readFile(t, file)))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	last := ""
	for r := tar.NewReader(compressed); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		folder, name, _ := strings.Cut(header.Name, "/")
		if folder+".tar.gz" != filepath.Base(file) || name <= last || header.Uname != "" || header.Uid != 0 {
			t.Errorf("%s: %s of %q, after %s", file, header.Name, header.Uname, last)
		}
		last = name
		if files[name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

func unzip(t *testing.T, data []byte) map[string][]byte {
	t.Helper()
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, f := range r.File {
		if f.Name == "bootstrap" && f.Mode().Perm() != 0o755 {
			t.Errorf("bootstrap has the mode %v", f.Mode())
		}
		file, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		if files[f.Name], err = io.ReadAll(file); err != nil {
			t.Fatal(err)
		}
	}
	return files
}
