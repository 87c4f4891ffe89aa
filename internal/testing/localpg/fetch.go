package localpg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

// fetchable maps the major versions that can be fetched to the exact ones.
func fetchable() map[int]embeddedpostgres.PostgresVersion {
	return map[int]embeddedpostgres.PostgresVersion{
		14: embeddedpostgres.V14,
		15: embeddedpostgres.V15,
		16: embeddedpostgres.V16,
		17: embeddedpostgres.V17,
		18: embeddedpostgres.V18,
	}
}

func fetchableMajors() string {
	return strings.Trim(strings.Join(strings.Fields(fmt.Sprint(slices.Sorted(maps.Keys(fetchable())))), ", "), "[]")
}

// fetch returns the binaries of a major version (0: the newest) from the cache, and downloads them
// into it if they are missing.
func fetch(ctx context.Context, major int, log io.Writer) (binaries, error) {
	if major == 0 {
		major = slices.Max(slices.Collect(maps.Keys(fetchable())))
	}
	version := fetchable()[major]
	cache, err := cacheDir()
	if err != nil {
		return binaries{}, fmt.Errorf("there is no place to keep a fetched one: %w", err)
	}
	dir := filepath.Join(cache, fmt.Sprintf("postgresql-%s-%s-%s", version, runtime.GOOS, runtime.GOARCH))

	// The library takes no context. When ctx ends, the work goes on, and keeps its lock, until it
	// is done.
	result := make(chan error, 1)
	go func() { result <- fetchInto(ctx, dir, version, log) }()
	select {
	case err = <-result:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		return binaries{}, fmt.Errorf("fetching PostgreSQL %s: %w", version, err)
	}
	b, err := inspect(ctx, filepath.Join(dir, "bin", "postgres"))
	if err != nil {
		return binaries{}, fmt.Errorf("the PostgreSQL fetched into %s does not run here: %w", dir, err)
	}
	b.fetched = true
	return b, nil
}

// fetchInto creates dir as a whole or not at all: one process at a time, in another directory that
// is renamed at the end.
func fetchInto(ctx context.Context, dir string, version embeddedpostgres.PostgresVersion, log io.Writer) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	cache := filepath.Dir(dir)
	unlock, err := lockCache(ctx, cache)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Stat(dir); err == nil {
		return nil // another process was faster
	}
	const stagePattern = "fetch-*"
	abandoned, _ := filepath.Glob(filepath.Join(cache, stagePattern)) // by killed processes: this one holds the lock
	for _, path := range abandoned {
		_ = os.RemoveAll(path)
	}
	stage, err := os.MkdirTemp(cache, stagePattern)
	if err != nil {
		return err
	}
	defer os.RemoveAll(stage) //nolint:errcheck // the next fetch removes what is left

	fmt.Fprintf(log, "fetching PostgreSQL %s into %s, once\n", version, dir)
	extracted := filepath.Join(stage, "postgresql")
	for try := 1; ; try++ { // a network may stumble
		err := download(version, stage, extracted)
		if err == nil {
			break
		}
		if try == 3 {
			return err
		}
		_ = os.RemoveAll(extracted)
	}
	if err := readableByAll(extracted); err != nil {
		return err
	}
	return os.Rename(extracted, dir)
}

// download fetches and extracts the binaries with the library, without letting it start a server:
// the library refuses root, and would run the server in its own way. So download passes a runtime
// directory that cannot be created once the binaries are extracted, because one of their files is
// in its place: the library's error about that means success. (It leaves an empty log file among
// the temporary files.)
func download(version embeddedpostgres.PostgresVersion, stage, extracted string) error {
	impossible := filepath.Join(extracted, "bin", "postgres", "runtime")
	err := embeddedpostgres.NewDatabase(embeddedpostgres.DefaultConfig().
		Version(version).
		CachePath(stage).
		BinariesPath(extracted).
		RuntimePath(impossible).
		Port(0).
		Logger(io.Discard)).Start()
	switch {
	case err == nil:
		return errors.New("the library started a server that it was told not to start")
	case strings.HasPrefix(err.Error(), "unable to create runtime directory "+impossible):
		return nil
	default:
		return err
	}
}

// readableByAll sets the modes of programs in /usr, whatever the umask: another account may run the
// server.
func readableByAll(dir string) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.Type()&fs.ModeSymlink != 0 {
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if info.IsDir() || info.Mode()&0o100 != 0 {
			mode = 0o755
		}
		return os.Chmod(path, mode) //nolint:gosec // nobody else writes there: the caller holds the lock, and owns the folder
	})
}

// cacheDir returns where fetched binaries are kept between runs: the user's cache, and for root the
// system's, because the account that runs the server cannot read root's. This process's user must
// own the directory, and only it may write to it, because its content is executed.
func cacheDir() (string, error) {
	var candidates []string
	if os.Geteuid() == 0 {
		candidates = append(candidates, systemCache)
	} else if dir, err := os.UserCacheDir(); err == nil {
		candidates = append(candidates, filepath.Join(dir, "sluice"))
	}
	candidates = append(candidates, filepath.Join(os.TempDir(), fmt.Sprintf("sluice-cache-%d", os.Geteuid())))

	var problems []error
	for _, dir := range candidates {
		err := os.MkdirAll(dir, 0o755) // programs, to be read by the account that runs the server
		if err == nil && !isOwnDir(dir) {
			err = fmt.Errorf("%s belongs to another user, or others may write to it", dir)
		}
		if err == nil {
			err = os.Chmod(dir, 0o755) // as above, whatever the umask
		}
		if err == nil {
			return dir, nil
		}
		problems = append(problems, err)
	}
	return "", errors.Join(problems...)
}

// lockCache waits until no other process fetches.
func lockCache(ctx context.Context, cache string) (unlock func(), err error) {
	lock, err := os.OpenFile(filepath.Join(cache, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		held, err := tryLock(lock)
		if held {
			return func() { _ = lock.Close() }, nil
		}
		if err == nil {
			select {
			case <-time.After(100 * time.Millisecond):
				continue
			case <-ctx.Done():
				err = ctx.Err()
			}
		}
		_ = lock.Close()
		return nil, fmt.Errorf("locking %s: %w", lock.Name(), err)
	}
}
