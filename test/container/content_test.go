// Package container_test checks the container image: always its recipe, and what it holds and how
// it runs when run.sh asks for it.
package container_test

import (
	"bytes"
	"debug/buildinfo"
	"debug/elf"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

const root = "../.."

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestBuilderIsOfGoMod checks that the builder has a patch release of the Go of go.mod, and not an
// older one.
func TestBuilderIsOfGoMod(t *testing.T) {
	t.Parallel()
	builder := regexp.MustCompile(`(?m)^ARG GO_VERSION=(\d+\.\d+)\.(\d+)$`).FindStringSubmatch(readFile(t, "Dockerfile"))
	module := regexp.MustCompile(`(?m)^go (\d+\.\d+)\.(\d+)$`).FindStringSubmatch(readFile(t, "go.mod"))
	if builder == nil || module == nil {
		t.Fatalf("Dockerfile: %q, go.mod: %q", builder, module)
	}
	if builder[1] != module[1] || len(builder[2]) < len(module[2]) || len(builder[2]) == len(module[2]) && builder[2] < module[2] {
		t.Errorf("Dockerfile builds with Go %s.%s, go.mod asks for %s.%s", builder[1], builder[2], module[1], module[2])
	}
}

// TestDockerfile checks the last stage on machines without an engine. TestImage asks the image
// itself.
func TestDockerfile(t *testing.T) {
	t.Parallel()
	_, stage, ok := strings.Cut(readFile(t, "Dockerfile"), "\nFROM scratch\n")
	if !ok {
		t.Fatal("the last stage is not FROM scratch")
	}
	for _, want := range []string{
		"COPY --from=build /src/bin/sluice /usr/local/bin/", "USER 65532:65532", `ENTRYPOINT ["/usr/local/bin/sluice"]`, `CMD ["consume", "--forever"]`,
		"COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/",
	} {
		if !strings.Contains(stage, "\n"+want+"\n") && !strings.HasPrefix(stage, want+"\n") {
			t.Errorf("it lacks the line %s", want)
		}
	}
	if n := strings.Count(stage, "COPY ") + strings.Count(stage, "ADD "); n != 2 {
		t.Errorf("%d instructions put files into the image, want 2", n)
	}
	if regexp.MustCompile(`(?m)^RUN `).MatchString(stage) {
		t.Error("something runs in the image while it is built: there is nothing to run")
	}
}

// TestComposeHardensTheService checks that compose.yaml gives the container only what it needs, and
// longer to stop than `consume --grace` takes.
func TestComposeHardensTheService(t *testing.T) {
	t.Parallel()
	_, service, ok := strings.Cut(readFile(t, "compose.yaml"), "\n  sluice:\n")
	if !ok {
		t.Fatal("compose.yaml has no service sluice")
	}
	for _, want := range []string{"profiles: [sluice]", "read_only: true", "cap_drop: [ALL]", "no-new-privileges:true", "stop_grace_period: 30s", "condition: service_healthy"} {
		if !strings.Contains(service, want) {
			t.Errorf("the service lacks %s", want)
		}
	}
	if regexp.MustCompile(`(?m)^    (user|privileged|healthcheck|tmpfs):`).MatchString(service) {
		t.Error("the service overrides what the image says, or has more than it needs")
	}
}

// TestContent builds the binary as the Dockerfile does, from the files that .dockerignore lets
// through.
func TestContent(t *testing.T) {
	if os.Getenv("TEST_CONTAINER_CONTENT") == "" {
		t.Skip("SKIPPED: test/container/run.sh runs it")
	}
	const version = "v0.0.0-content"
	dir := t.TempDir()
	copyContext(t, dir)
	cmd := exec.CommandContext(t.Context(), "make", "build-bin", "VERSION="+version)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+runtime.GOARCH)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make build-bin: %v\n%s", err, out)
	}
	binary, err := os.ReadFile(filepath.Join(dir, "bin", "sluice"))
	if err != nil {
		t.Fatal(err)
	}
	checkBinary(t, binary, version)
}

// copyContext copies what an engine would get of the repository.
func copyContext(t *testing.T, to string) {
	t.Helper()
	var patterns []string
	for line := range strings.Lines(readFile(t, ".dockerignore")) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			patterns = append(patterns, line)
		}
	}
	from := os.DirFS(root)
	err := fs.WalkDir(from, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		switch {
		case d.IsDir() && ignored(name, patterns):
			return fs.SkipDir // a folder that has an exception inside would have to be walked; there is none
		case d.IsDir():
			return os.Mkdir(filepath.Join(to, name), 0o755)
		case ignored(name, patterns):
			return nil
		}
		data, err := fs.ReadFile(from, name)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), data, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// ignored reports whether .dockerignore excludes a path: the last pattern that matches it, or a
// folder above it, decides.
func ignored(name string, patterns []string) bool {
	out := false
	for _, pattern := range patterns {
		pattern, exception := strings.CutPrefix(pattern, "!")
		for at := name; at != "."; at = path.Dir(at) {
			subject := at
			below, anywhere := strings.CutPrefix(pattern, "**/")
			if anywhere {
				subject = path.Base(at)
			}
			if ok, _ := path.Match(below, subject); ok {
				out = !exception
			}
		}
	}
	return out
}

// checkBinary checks that a program needs only a kernel, does not show who built it, and has its
// version.
func checkBinary(t *testing.T, binary []byte, version string) {
	t.Helper()
	file, err := elf.NewFile(bytes.NewReader(binary))
	if err != nil {
		t.Fatal(err)
	}
	machine := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[runtime.GOARCH]
	if file.Machine != machine {
		t.Errorf("it is for %v, not %v", file.Machine, machine)
	}
	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("it is not static: it has a %v", p.Type)
		}
	}
	if file.Section(".symtab") != nil || file.Section(".debug_info") != nil {
		t.Error("it is not stripped")
	}
	if !bytes.Contains(binary, []byte(version)) {
		t.Errorf("it does not hold its version, %s", version)
	}
	info, err := buildinfo.Read(bytes.NewReader(binary))
	if err != nil {
		t.Fatal(err)
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	if settings["CGO_ENABLED"] != "0" || settings["-trimpath"] != "true" || settings["vcs"] != "" {
		t.Errorf("built with %v", settings)
	}
}
