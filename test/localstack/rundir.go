//go:build unix

package localstack

import (
	"context"
	"os"
	"path/filepath"
)

// runDir is the folder of one running LocalStack. This process holds its lock, which marks it as in use.
type runDir struct {
	path   string
	unlock func()
}

const runPattern = "run-*"

// newRunDir makes a folder in dir, and removes the folders of processes that were killed.
func newRunDir(ctx context.Context, dir string) (*runDir, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	// One process at a time, so that nobody removes a folder before it is locked.
	unlock, err := Lock(ctx, filepath.Join(dir, "lock"))
	if err != nil {
		return nil, err
	}
	defer unlock()
	others, _ := filepath.Glob(filepath.Join(dir, runPattern)) // well formed
	for _, other := range others {
		if unlock, err := TryLock(filepath.Join(other, "lock")); err == nil {
			_ = os.RemoveAll(other) // what remains does no harm
			unlock()
		}
	}
	d := &runDir{}
	if d.path, err = os.MkdirTemp(dir, runPattern); err != nil {
		return nil, err
	}
	if d.unlock, err = TryLock(filepath.Join(d.path, "lock")); err != nil {
		return nil, err
	}
	return d, nil
}

func (d *runDir) remove() error {
	err := os.RemoveAll(d.path)
	d.unlock()
	return err
}
