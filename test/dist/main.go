// Command dist packs a release, which `make dist` has compiled: the archives of the command line, the
// functions' zips, packages that deploy those with SAM and without Go, an SBOM of each program, and
// checksums.
//
//	dist VERSION BUILT OUT
//
// BUILT has a program for each platform: sluice_OS_ARCH/sluice, ingest_ARCH/bootstrap, migrate_ARCH/bootstrap.
// Run it in the repository's folder. The same sources, version and Go make the same bytes: names are
// sorted, times are SOURCE_DATE_EPOCH, and owners are nobody. Only an SBOM has something of the machine:
// the hash of the tool that wrote it.
package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"cmp"
	"compress/flate"
	"compress/gzip"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: dist VERSION BUILT OUT")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "dist:", err)
		os.Exit(1)
	}
}

// noticesFile has the licences of what is linked.
const noticesFile = "THIRD-PARTY-NOTICES.txt"

// release is what run makes.
type release struct {
	version, out string
	at           time.Time
	common       []entry // of every archive
}

func run(version, built, out string) error {
	seconds, err := strconv.ParseInt(cmp.Or(os.Getenv("SOURCE_DATE_EPOCH"), "315532800"), 10, 64)
	if err != nil {
		return fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	r := &release{version: version, out: out, at: time.Unix(seconds, 0).UTC()}
	programs, err := filepath.Glob(filepath.Join(built, "*", "*"))
	if err != nil {
		return err
	}
	if len(programs) == 0 {
		return fmt.Errorf("%s has no program", built)
	}
	licence, err := read("LICENSE")
	if err != nil {
		return err
	}
	notices, err := notices(programs)
	if err != nil {
		return err
	}
	r.common = []entry{{name: "LICENSE", data: licence}, {name: noticesFile, data: notices}}
	if err := r.write(noticesFile, notices); err != nil {
		return err
	}
	for _, program := range programs {
		if err := r.pack(program); err != nil {
			return fmt.Errorf("%s: %w", program, err)
		}
	}
	return r.sums()
}

// pack makes the archive and the SBOM of a program, and of an ingest function the package for SAM as well.
func (r *release) pack(program string) error {
	kind, platform, _ := strings.Cut(filepath.Base(filepath.Dir(program)), "_")
	data, err := read(program)
	if err != nil {
		return err
	}
	binary := entry{name: filepath.Base(program), data: data, program: true}
	if kind == "sluice" {
		readme, err := read("README.md")
		if err != nil {
			return err
		}
		name := "sluice_" + r.version + "_" + platform
		if err := r.sbom(program, name); err != nil {
			return err
		}
		return r.tar(name, append([]entry{binary, {name: "README.md", data: readme}}, r.common...))
	}
	name := "sluice_" + r.version + "_lambda_" + kind + "_" + platform
	if err := r.sbom(program, name); err != nil {
		return err
	}
	zipped, err := r.zip(append([]entry{binary}, r.common...))
	if err != nil {
		return err
	}
	if err := r.write(name+".zip", zipped); err != nil || kind != "migrate" {
		return err
	}
	return r.sam(platform, map[string][]byte{"migrate.zip": zipped}) // the last one of its platform
}

//go:embed package.md
var packageReadme string

// sam makes the archive that deploys the functions of an architecture.
func (r *release) sam(architecture string, zips map[string][]byte) (err error) {
	if zips["ingest.zip"], err = read(filepath.Join(r.out, "sluice_"+r.version+"_lambda_ingest_"+architecture+".zip")); err != nil {
		return err
	}
	template, err := read("template.yaml")
	if err != nil {
		return err
	}
	packaged, included, err := packageTemplate(string(template), architecture)
	if err != nil {
		return err
	}
	config, err := read("samconfig.toml")
	if err != nil {
		return err
	}
	files := append([]entry{
		{name: "template.yaml", data: []byte(packaged)},
		{name: "samconfig.toml", data: []byte(packageConfig(string(config)))},
		{name: "parameters.yaml", data: []byte(packageParameters(r.version, architecture))},
		{name: "README.md", data: []byte(strings.NewReplacer("VERSION", r.version, "ARCHITECTURE", architecture).Replace(packageReadme))},
	}, r.common...)
	for name, data := range zips {
		files = append(files, entry{name: name, data: data})
	}
	for _, name := range included {
		data, err := read(name)
		if err != nil {
			return err
		}
		files = append(files, entry{name: name, data: data})
	}
	return r.tar("sluice_"+r.version+"_sam_"+architecture, files)
}

// packageParameters returns parameters.yaml. A gradual deployment, as in the stage prod, moves messages to
// the new code only if Revision is new.
func packageParameters(version, architecture string) string {
	return "- Revision=" + version + "\n" +
		"# Yours, before the last line, also another Revision:\n# - DatabaseSecretArn=arn:aws:secretsmanager:…\n" +
		"- Architecture=" + architecture + "\n"
}

var (
	function = regexp.MustCompile(`(?s)\n  (\w+)Function:\n    Type: AWS::Serverless::Function\n.*?\n      CodeUri: \.\n`)
	machine  = regexp.MustCompile(`\n  Architecture:\n    Type: String\n    #.*\n    AllowedValues: \[arm64, x86_64\]\n    Description: .*\n`)
	build    = regexp.MustCompile(`\n(    Metadata:\n)      BuildMethod: makefile\n( {6})?`)
	include  = regexp.MustCompile(`\bLocation: ([\w-][\w./-]*)`)
)

// packageTemplate returns the template for the zips of an architecture, and the files that it includes.
func packageTemplate(template, architecture string) (packaged string, included []string, err error) {
	packaged = function.ReplaceAllStringFunc(template, func(text string) string {
		name := strings.ToLower(function.FindStringSubmatch(text)[1])
		code := strings.TrimSuffix(text, "CodeUri: .\n") + "CodeUri: " + name + ".zip\n"
		return build.ReplaceAllStringFunc(code, func(metadata string) string {
			if found := build.FindStringSubmatch(metadata); found[2] != "" {
				return "\n" + found[1] + found[2] // there is more
			}
			return "\n"
		})
	})
	packaged = machine.ReplaceAllString(packaged, "\n  Architecture:\n    Type: String\n    Default: "+architecture+
		"\n    AllowedValues: ["+architecture+"]\n    Description: The processor for which the zips are compiled.\n")
	if strings.Count(packaged, "AllowedValues: ["+architecture+"]\n") != 1 || strings.Count(packaged, ".zip\n") != 2 || strings.Contains(packaged, "CodeUri: .\n") || strings.Contains(packaged, "BuildMethod") {
		return "", nil, errors.New("template.yaml: its functions or its parameter Architecture are not as this program expects them")
	}
	for _, found := range include.FindAllStringSubmatch(template, -1) {
		included = append(included, found[1])
	}
	return packaged, included, nil
}

// packageConfig returns samconfig.toml without what builds and runs locally, its comments included.
func packageConfig(config string) string {
	var text strings.Builder
	text.WriteString("# The parameters of each stage: sam deploy --config-env prod. parameters.yaml has yours, and comes last.\n")
	keep := true
	for line := range strings.Lines(config) {
		if strings.HasPrefix(line, "[") {
			keep = !strings.Contains(line, ".local_")
			line = "\n" + line
		}
		key, _, _ := strings.Cut(line, " ")
		if !keep || strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") ||
			slices.Contains([]string{"build_in_source", "add_host", "skip_pull_image", "function_logical_id", "lint"}, key) {
			continue
		}
		text.WriteString(strings.ReplaceAll(line, "file://.aws-sam/build/parameters.yaml", "file://parameters.yaml"))
	}
	return text.String()
}

// entry is a file of an archive.
type entry struct {
	name    string
	data    []byte
	program bool // may be executed
}

func (e entry) mode() os.FileMode {
	if e.program {
		return 0o755
	}
	return 0o644
}

// sorted returns the entries by name.
func sorted(entries []entry) []entry {
	return slices.SortedFunc(slices.Values(entries), func(a, b entry) int { return cmp.Compare(a.name, b.name) })
}

// tar writes an archive whose one folder has its name.
func (r *release) tar(name string, entries []entry) error {
	var buf bytes.Buffer
	compressed, err := gzip.NewWriterLevel(&buf, gzip.BestCompression)
	if err != nil {
		return err
	}
	w := tar.NewWriter(compressed)
	for _, e := range sorted(entries) {
		header := &tar.Header{Name: name + "/" + e.name, Mode: int64(e.mode()), Size: int64(len(e.data)), ModTime: r.at, Format: tar.FormatUSTAR}
		if err := w.WriteHeader(header); err != nil {
			return err
		}
		if _, err := w.Write(e.data); err != nil {
			return err
		}
	}
	if err := errors.Join(w.Close(), compressed.Close()); err != nil {
		return err
	}
	return r.write(name+".tar.gz", buf.Bytes())
}

func (r *release) zip(entries []entry) ([]byte, error) {
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	w.RegisterCompressor(zip.Deflate, func(out io.Writer) (io.WriteCloser, error) { return flate.NewWriter(out, flate.BestCompression) })
	for _, e := range sorted(entries) {
		header := &zip.FileHeader{Name: e.name, Method: zip.Deflate, Modified: r.at}
		header.SetMode(e.mode())
		file, err := w.CreateHeader(header)
		if err != nil {
			return nil, err
		}
		if _, err := file.Write(e.data); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return buf.Bytes(), err
}

// sbom writes what a program is made of, as CycloneDX: the program itself says it.
func (r *release) sbom(program, name string) error {
	cmd := exec.Command("go", "tool", "-modfile=tools/go.mod", "cyclonedx-gomod", "bin", "-json", "-std", "-noserial", "-notimestamp", //nolint:gosec,noctx // our own words; it takes a second
		"-version", r.version, "-output", filepath.Join(r.out, name+".cdx.json"), program)
	cmd.Env = append(cmd.Environ(), "GOFLAGS=-trimpath") // its own hash is in the file
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return nil
}

// read reads a file of the repository, of the build or of a module.
func read(name string) ([]byte, error) { return os.ReadFile(name) } //nolint:gosec // the paths are ours

func (r *release) write(name string, data []byte) error {
	return os.WriteFile(filepath.Join(r.out, name), data, 0o644) //nolint:gosec // for everybody
}

// sums writes the checksums of all files, as `sha256sum --check` reads them.
func (r *release) sums() error {
	files, err := os.ReadDir(r.out)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	for _, file := range files {
		if file.IsDir() {
			continue
		}
		data, err := read(filepath.Join(r.out, file.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&text, "%x  %s\n", sha256.Sum256(data), file.Name())
	}
	return r.write("SHA256SUMS", text.Bytes())
}
