package model

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
)

// Set is the models of one queue, in the order in which they are tried. It is immutable.
type Set struct {
	Models []*Model

	tables   []*batch.Table
	tableOf  []int // by model, -1 without a table
	modelOf  []int // by table
	selector selector
}

// maxModels bounds the models of one queue.
const maxModels = 1000

// LoadSet loads the models that names lists, separated by commas. Each is what Load takes, or a folder:
// then its files *.yaml and *.yml, in the order of their names. A path that exists is one, whatever is
// in it. The error lists every problem, one per line.
func LoadSet(names string, builtin fs.FS) (*Set, error) {
	var models []*Model
	var problems []error
	list := strings.Split(names, ",")
	if _, err := os.Stat(names); err == nil {
		list = []string{names} // a path may have a comma
	}
	for _, name := range list {
		paths, err := files(strings.TrimSpace(name))
		if err != nil {
			problems = append(problems, err)
		}
		for _, path := range paths {
			m, err := Load(path, builtin)
			switch {
			case err != nil:
				problems = append(problems, err)
			case slices.ContainsFunc(models, func(other *Model) bool { return other != nil && other.path == m.path }):
				problems = append(problems, fmt.Errorf("the list of models has %s twice; remove one", path))
			}
			models = append(models, m)
		}
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return NewSet(models...)
}

// files returns the model files of a folder, and a name or path of anything else as it is.
func files(name string) (paths []string, err error) {
	if name == "" {
		return nil, errors.New("a name in the list of models is empty; write a name or path between the commas")
	}
	if !isPath(name) || !isFolder(name) {
		return []string{name}, nil
	}
	entries, err := os.ReadDir(name) // sorted
	if err != nil {
		return nil, fmt.Errorf("read the folder of models: %w", err)
	}
	for _, e := range entries {
		if isYAML(e.Name()) && !strings.HasPrefix(e.Name(), ".") {
			paths = append(paths, filepath.Join(name, e.Name()))
		}
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("the folder %s has no model; put a file *.yaml there, or name another folder", name)
	}
	return paths, nil
}

func isFolder(path string) bool {
	about, err := os.Stat(path)
	return err == nil && about.IsDir() // Load says what is wrong
}

// NewSet returns a set of models.
func NewSet(models ...*Model) (*Set, error) {
	s := &Set{Models: models}
	var problems []error
	bad := func(m *Model, format string, args ...any) {
		problems = append(problems, fmt.Errorf("%s: %s", m.path, fmt.Sprintf(format, args...)))
	}
	if len(models) > maxModels {
		problems = append(problems, fmt.Errorf("%d models are more than %d, which is the most of one queue", len(models), maxModels))
	}
	named := map[string]*Model{}
	for i, m := range models {
		if other := named[m.Name]; other != nil {
			bad(m, "two models are named %s, the other one in %s; metrics and logs could not tell them apart: rename one, or remove it from the list", m.Name, other.path)
		}
		named[m.Name] = m
		if m.When == nil && i < len(models)-1 {
			bad(m, "model %s has no when, so it takes every message, and %s after it gets none; put it last, or add a when to it", m.Name, models[i+1].Name)
		}
		if m.Ignore {
			s.tableOf = append(s.tableOf, -1)
			continue
		}
		s.tableOf = append(s.tableOf, len(s.tables))
		s.tables, s.modelOf = append(s.tables, m.Table), append(s.modelOf, i)
	}
	if len(s.tables) == 0 {
		problems = append(problems, errors.New("all models say ignore: true, so nothing would be stored; add a model with a table"))
	}
	s.selector = newSelector(models, bad)
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return s, nil
}

// Set returns the set of the model alone.
func (m *Model) Set() *Set {
	s, _ := NewSet(m) // one model is in nobody's way
	return s
}

// Tables returns the tables of the models, in the order of the list. Each batch writes them in that
// order: a table comes after those that it refers to if the list has them so, and two batches wait for
// each other instead of deadlocking.
func (s *Set) Tables() []*batch.Table { return s.tables }

// ModelOf returns the index of the model whose rows go to the table with an index.
func (s *Set) ModelOf(table int) int { return s.modelOf[table] }

// Masks reports whether rows of some model depend on the mask keys.
func (s *Set) Masks() bool { return slices.ContainsFunc(s.Models, (*Model).Masks) }

// SetReader turns bodies into rows of the models that take them. It reuses its memory, so it is for one
// goroutine.
type SetReader struct {
	set     *Set
	readers []*Reader // of the models; nil for one that ignores its messages
	budget  *budget   // of all readers
	chooser chooser
}

// Reader returns a reader that masks with the given keys.
func (s *Set) Reader(keys *mask.Keyring) *SetReader {
	r := &SetReader{set: s, budget: &budget{most: maxUnwrapped, left: maxUnwrapped}, readers: make([]*Reader, len(s.Models))}
	for i, m := range s.Models {
		if !m.Ignore {
			r.readers[i] = m.Reader(keys)
			r.readers[i].budget = r.budget
		}
	}
	r.chooser = s.selector.reader(r.budget)
	return r
}

// Append finds the model of one message and appends its row to the batch, which has the set's tables.
// Without a row it returns the verdict, with the number of the model. index and group are the
// message's, for the batch.
func (r *SetReader) Append(b *batch.Batch, index, group int, msg *message.Message) (verdict message.Verdict) {
	r.budget.message()
	model := 0
	if len(r.chooser.sources) > 0 {
		if model = r.chooser.choose(msg, &verdict); model < 0 {
			return verdict
		}
	}
	if reader := r.readers[model]; reader == nil {
		verdict.Outcome = message.Ignored
	} else {
		reader.given = r.chooser.gives(model)
		reader.append(b, r.set.tableOf[model], index, group, msg, &verdict)
		reader.given = nil
	}
	if !verdict.IsZero() {
		verdict.Model = uint16(model + 1)
	}
	return verdict
}

// Takers lists the models whose when takes a message, whether or not one before them does. A model
// without when takes what the others leave, and is not listed.
func (r *SetReader) Takers(msg *message.Message) []int {
	r.budget.message()
	return r.chooser.takers(msg)
}

// Of returns the reader of the model with an index, to look at what it reads of a message. It is nil
// for a model that says ignore.
func (r *SetReader) Of(model int) *Reader { return r.readers[model] }

// Reset begins a batch that was received at a time.
func (r *SetReader) Reset(received time.Time) {
	for _, one := range r.readers {
		if one != nil {
			one.Reset(received)
		}
	}
	r.chooser.release()
}

// Release ends a batch: the reader then refers to none of its messages, and has no memory that only a
// large one needs.
func (r *SetReader) Release() {
	for _, one := range r.readers {
		if one != nil {
			one.Release()
		}
	}
	r.chooser.release()
}
