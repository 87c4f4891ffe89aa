//go:build unix

package localstack

import (
	"context"
	"os"
	"path/filepath"
)

// runDir is the folder of one running LocalStack. A lock, held as long as this process lives, marks it as in use.
type runDir struct {
	path   string
	unlock func()
}

const runPattern = "run-*"

// newRunDir makes a folder in dir, and removes those that processes which were killed have left.
func newRunDir(ctx context.Context, dir string) (*runDir, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	// One at a time, so that none is taken for an abandoned one before it is locked.
	unlock, err := lock(ctx, filepath.Join(dir, "lock"))
	if err != nil {
		return nil, err
	}
	defer unlock()
	others, _ := filepath.Glob(filepath.Join(dir, runPattern)) // the pattern is well formed
	for _, other := range others {
		if unlock, err := tryLock(filepath.Join(other, "lock")); err == nil {
			_ = os.RemoveAll(other) // what cannot be removed harms nobody
			unlock()
		}
	}
	d := &runDir{}
	if d.path, err = os.MkdirTemp(dir, runPattern); err != nil {
		return nil, err
	}
	if d.unlock, err = tryLock(filepath.Join(d.path, "lock")); err != nil {
		return nil, err
	}
	return d, nil
}

func (d *runDir) remove() error {
	err := os.RemoveAll(d.path)
	d.unlock()
	return err
}
