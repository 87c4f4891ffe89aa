package localpg

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// workDirPattern is the pattern of the directories' names; sweep looks for it.
const workDirPattern = "sluice-postgres-*"

// workDir is the directory of one server. The directory and its log belong to this process's user;
// the data in it belong to the account that runs the server. A lock, held as long as this process
// lives, marks it as in use.
type workDir struct {
	path string
	lock *os.File
}

func (d *workDir) data() string { return filepath.Join(d.path, "data") }
func (d *workDir) log() string  { return filepath.Join(d.path, "log") }

func newWorkDir(as account) (*workDir, error) {
	base := os.TempDir()
	if as.switched && !reachableByAll(base) {
		base = "/tmp" // root's TMPDIR may be in root's home, which the server's account cannot enter
	}
	sweep(base)

	path, err := os.MkdirTemp(base, workDirPattern)
	if err != nil {
		return nil, err
	}
	d := &workDir{path: path}
	if err := d.fill(as); err != nil {
		_ = d.remove()
		return nil, err
	}
	return d, nil
}

func (d *workDir) fill(as account) error {
	// The lock gets its name after it is held, so that a sweep never sees it unlocked.
	lock, err := os.OpenFile(filepath.Join(d.path, "lock.new"), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	d.lock = lock
	if held, err := tryLock(lock); !held {
		return fmt.Errorf("locking %s: %w", lock.Name(), err)
	}
	if err := os.Rename(lock.Name(), filepath.Join(d.path, "lock")); err != nil {
		return err
	}
	if err := os.Mkdir(d.data(), 0o700); err != nil {
		return err
	}
	if !as.switched {
		return nil
	}
	if err := os.Chmod(d.path, 0o711); err != nil { // the server's account must pass through, no more
		return err
	}
	return os.Chown(d.data(), as.uid, as.gid)
}

// writePrivate writes a file that only the server's account can read.
func (d *workDir) writePrivate(name, content string, as account) (string, error) {
	f, err := os.OpenFile(filepath.Join(d.path, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if as.switched {
		if err := f.Chown(as.uid, as.gid); err != nil {
			return "", err
		}
	}
	_, err = f.WriteString(content)
	return f.Name(), err
}

// append adds text to an existing file of the data, which keeps its owner.
func (d *workDir) append(name, text string) error {
	f, err := os.OpenFile(filepath.Join(d.data(), name), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(text)
	return err
}

// giveTo makes the account the owner of all data.
func (d *workDir) giveTo(as account) error {
	if !as.switched {
		return nil
	}
	root, err := os.OpenRoot(d.data())
	if err != nil {
		return err
	}
	defer root.Close()
	return fs.WalkDir(root.FS(), ".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return root.Lchown(path, as.uid, as.gid)
	})
}

// prepare makes a command run in the server's directory and as its account. Of this process's
// environment it gets only what finds libraries: PG… and LC_… would change the server, and it needs
// no secrets.
func (d *workDir) prepare(cmd *exec.Cmd, as account) {
	cmd.Dir = d.data()
	cmd.SysProcAttr = childAttributes(as)
	cmd.Env = []string{"LC_ALL=C", "HOME=" + d.data()}
	for _, name := range []string{"PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"} {
		if value, ok := os.LookupEnv(name); ok {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
}

func (d *workDir) remove() error {
	if d.lock != nil {
		_ = d.lock.Close() // releases the lock
	}
	return os.RemoveAll(d.path)
}

// sweep removes the directories that killed processes have left behind: those whose lock nobody
// holds.
func sweep(base string) {
	paths, _ := filepath.Glob(filepath.Join(base, workDirPattern)) // the pattern is well formed
	for _, path := range paths {
		if !isOwnDir(path) {
			continue
		}
		lock, err := os.OpenFile(filepath.Join(path, "lock"), os.O_RDWR, 0)
		if err != nil {
			continue
		}
		if held, _ := tryLock(lock); held {
			_ = os.RemoveAll(path) // what cannot be removed does no harm
		}
		_ = lock.Close()
	}
}
