//go:build unix

package localstack

import (
	"context"
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// sources are what is installed (LocalStack, and our executor, which runs functions without a
// container) and how: this file.
//
//go:embed requirements.txt procexec install.go
var sources embed.FS

// The requirements were tested with these versions of Python; (major, minor) in Python.
const oldestPython, newestPython = "(3, 11)", "(3, 13)"

// pythons returns where a Python may be, best first.
func pythons() []string {
	names := []string{"python3", "python3.13", "python3.12", "python3.11"}
	if home, err := os.UserHomeDir(); err == nil {
		others, _ := filepath.Glob(filepath.Join(home, ".pyenv", "versions", "3.1[123].*", "bin", "python3")) // well formed
		names = append(names, others...)
	}
	return names
}

// environment is the folder of a virtual environment of Python.
type environment string

func (e environment) python() string { return filepath.Join(string(e), "bin", "python") }

// catalog returns the folder of the index of all services. Without it LocalStack computes the index at
// every start, for 5 s.
func (e environment) catalog() string { return filepath.Join(string(e), "share", "localstack") }

// install returns a complete environment in dir, and makes it if it is missing. A hash of the sources
// names it, so another version gets another environment.
func install(ctx context.Context, dir string, progress io.Writer) (environment, error) {
	base, version, err := findPython(ctx)
	if err != nil {
		return "", err
	}
	sum, err := sourcesHash()
	if err != nil {
		return "", err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return "", err
	}
	venv := environment(filepath.Join(dir, fmt.Sprintf("%s-python%s-%x", Version, version, sum[:6])))
	complete := filepath.Join(string(venv), "complete")

	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", err
	}
	unlock, err := Lock(ctx, filepath.Join(dir, "lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(complete); err == nil {
		return venv, nil
	}
	began := time.Now()
	fmt.Fprintf(progress, "installing LocalStack %s into %s, once (one to three minutes)\n", Version, dir) //nolint:errcheck // progress only
	if err := os.RemoveAll(string(venv)); err != nil {                                                     // an incomplete one
		return "", err
	}
	if err := fill(ctx, base, venv); err != nil {
		return "", fmt.Errorf("installing LocalStack: %w", err)
	}
	if err := os.WriteFile(complete, nil, 0o600); err != nil {
		return "", err
	}
	fmt.Fprintf(progress, "installed LocalStack in %.0f s\n", time.Since(began).Seconds()) //nolint:errcheck // progress only
	return venv, nil
}

// fill makes the virtual environment. pip builds the executor in a copy of its source, since it leaves
// files there.
func fill(ctx context.Context, base string, venv environment) error {
	stage, err := os.MkdirTemp("", "sluice-localstack-install-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(stage) //nolint:errcheck // temporary files
	if err := os.CopyFS(stage, sources); err != nil {
		return err
	}
	if err := os.MkdirAll(venv.catalog(), 0o750); err != nil {
		return err
	}
	const index = `import os, sys
from localstack.aws import spec
spec.build_service_index_cache(os.path.join(sys.argv[1], spec._get_catalog_filename()))`
	for _, command := range [][]string{
		{base, "-m", "venv", string(venv)},
		{venv.python(), "-m", "pip", "install", "--quiet", "--no-compile", "--no-deps", "--require-hashes", "-r", filepath.Join(stage, "requirements.txt")},
		{venv.python(), "-m", "pip", "install", "--quiet", "--no-compile", "--no-deps", filepath.Join(stage, "procexec")},
		{venv.python(), "-c", index, venv.catalog()},
	} {
		cmd := exec.CommandContext(ctx, command[0], command[1:]...) //nolint:gosec // see above
		cmd.Env = append(cmd.Environ(), "PIP_DISABLE_PIP_VERSION_CHECK=1", "PIP_ROOT_USER_ACTION=ignore")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(command, " "), err, out)
		}
	}
	return nil
}

// findPython looks for a supported version that can make virtual environments.
func findPython(ctx context.Context) (path, version string, err error) {
	const script = `import sys, venv, ensurepip
assert ` + oldestPython + ` <= sys.version_info[:2] <= ` + newestPython + `
print("%d.%d" % sys.version_info[:2])`
	for _, name := range pythons() {
		// A name on the PATH may be a shim without a Python: so run it.
		out, err := exec.CommandContext(ctx, name, "-c", script).Output() //nolint:gosec // our own names
		if err == nil {
			return name, strings.TrimSpace(string(out)), nil
		}
		if ctx.Err() != nil {
			return "", "", ctx.Err()
		}
	}
	return "", "", errors.New("LocalStack needs Python 3.11, 3.12 or 3.13 with venv, and this machine has none on its PATH: " +
		"install one from https://www.python.org/downloads (Debian: apt-get install python3 python3-venv)")
}

func sourcesHash() ([]byte, error) {
	sum := sha256.New()
	err := fs.WalkDir(sources, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := fs.ReadFile(sources, path)
		fmt.Fprintf(sum, "%s %d\n%s", path, len(text), text) //nolint:errcheck // a hash never fails
		return err
	})
	return sum.Sum(nil), err
}

// Lock waits until no other process holds the lock of the file. The kernel releases the lock of a
// process that ends.
func Lock(ctx context.Context, path string) (unlock func(), err error) {
	for {
		unlock, err := TryLock(path)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return unlock, err
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// TryLock locks the file, or fails with EWOULDBLOCK if another process holds the lock.
func TryLock(path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // our own file
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	return func() { _ = file.Close() }, nil
}
