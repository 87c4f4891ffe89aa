package localpg

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// oldestMajor is the oldest version that sluice supports; older binaries of the machine are
// ignored.
const oldestMajor = 14

// packagedPlaces returns where distributions and installers put binaries that are not on the PATH.
func packagedPlaces() []string {
	return []string{
		"/usr/lib/postgresql/*/bin",                          // Debian, Ubuntu
		"/usr/pgsql-*/bin",                                   // PostgreSQL's own RPMs
		"/usr/libexec/postgresql*",                           // Alpine
		"/opt/homebrew/opt/postgresql@*/bin",                 // Homebrew on Apple silicon
		"/usr/local/opt/postgresql@*/bin",                    // Homebrew on Intel
		"/Applications/Postgres.app/Contents/Versions/*/bin", // Postgres.app
		"/usr/local/pgsql/bin",                               // built from source
	}
}

// binaries are postgres and initdb of one version, in one directory.
type binaries struct {
	dir     string
	version string // as postgres says it, "15.18"
	fetched bool
}

func (b binaries) major() int {
	digits, _, _ := strings.Cut(b.version, ".")
	major, _ := strconv.Atoi(digits) // 0 for what is not a number, which is too old
	return major
}

func (b binaries) origin() string {
	if b.fetched {
		return "fetched PostgreSQL " + b.version
	}
	return "PostgreSQL " + b.version + " of this machine"
}

// findBinaries returns the machine's binaries if they are usable, and fetches some otherwise.
func findBinaries(ctx context.Context, cfg Config, as account) (binaries, error) {
	wanted := 0
	if cfg.Version != "" {
		wanted, _ = strconv.Atoi(cfg.Version)
		if _, ok := fetchable()[wanted]; !ok {
			return binaries{}, fmt.Errorf("no PostgreSQL of version %q: give a major version, %s", cfg.Version, fetchableMajors())
		}
	}
	if b, ok := ofThisMachine(ctx, wanted, as); ok {
		return b, nil
	}
	if err := ctx.Err(); err != nil {
		return binaries{}, fmt.Errorf("looking for PostgreSQL on this machine: %w", err)
	}
	b, err := fetch(ctx, wanted, cfg.Log)
	if err != nil && ctx.Err() == nil {
		needed := fmt.Sprintf("PostgreSQL %d or later", oldestMajor)
		if wanted != 0 {
			needed = fmt.Sprintf("PostgreSQL %d", wanted)
		}
		err = fmt.Errorf("this machine has no %s that can be used, and %w\n"+
			"Install it (initdb and postgres on the PATH), or give the URL of a server (DATABASE_URL; for tests "+
			"TEST_DATABASE_URL)", needed, err)
	}
	return b, err
}

// ofThisMachine looks on the PATH first, then where packages put binaries, newest first.
func ofThisMachine(ctx context.Context, wanted int, as account) (binaries, bool) {
	usable := func(b binaries) bool {
		return b.major() >= oldestMajor && (wanted == 0 || b.major() == wanted) && as.canRun(b.dir)
	}
	if path, err := exec.LookPath("postgres"); err == nil {
		if b, err := inspect(ctx, path); err == nil && usable(b) {
			return b, true
		}
	}
	var found []binaries
	for _, place := range packagedPlaces() {
		paths, _ := filepath.Glob(filepath.Join(place, "postgres")) // the patterns are well formed
		for _, path := range paths {
			if b, err := inspect(ctx, path); err == nil && usable(b) {
				found = append(found, b)
			}
		}
	}
	if len(found) == 0 {
		return binaries{}, false
	}
	return slices.MaxFunc(found, func(a, b binaries) int { return a.major() - b.major() }), true
}

var versionPattern = regexp.MustCompile(`\(PostgreSQL\) (\d+[.\w]*)`)

// inspect asks a postgres program for its version. It follows links, because postgres finds its
// files by its own place, and initdb must be next to it.
func inspect(ctx context.Context, path string) (binaries, error) {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return binaries{}, err
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return binaries{}, err
	}
	if _, err := exec.LookPath(filepath.Join(dir, "initdb")); err != nil {
		return binaries{}, err
	}
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return binaries{}, err
	}
	match := versionPattern.FindSubmatch(out)
	if match == nil {
		return binaries{}, errors.New("postgres --version prints no version")
	}
	return binaries{dir: dir, version: string(match[1])}, nil
}
