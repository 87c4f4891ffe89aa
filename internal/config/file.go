package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// maxFile is the size limit of a file that holds a setting.
const maxFile = 64 << 10

// file returns the text of the file that a variable names, without one newline at
// its end, which editors and shells add. A problem names the file and shows
// nothing of its text.
func (v *variables) file(name, path string) string {
	text, err := readSecret(path)
	switch {
	case err == nil:
		return text
	case shownPath(path):
		v.problem("%s: %s: %v", name, path, err)
	default:
		v.problem("%s must be the path of a file, and its value does not look like one", name)
	}
	return ""
}

func readSecret(path string) (string, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return "", reason(err)
	case info.IsDir():
		return "", errors.New("is a directory")
	case !info.Mode().IsRegular(): // the configuration may be read twice, and a pipe is empty then
		return "", errors.New("is not a regular file")
	case info.Size() > maxFile:
		return "", fmt.Errorf("has more than %d bytes", maxFile)
	}
	content, err := os.ReadFile(path) //nolint:gosec // the path is a setting
	if err != nil {
		return "", reason(err)
	}
	text := string(content)
	if line, ok := strings.CutSuffix(text, "\n"); ok {
		text = strings.TrimSuffix(line, "\r")
	}
	if text == "" {
		return "", errors.New("is empty")
	}
	return text, nil
}

// reason returns an error of a file without the path, which the problem names.
func reason(err error) error {
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		return failed.Err
	}
	return err
}

// shownPath reports whether a path can be shown. It may be the secret itself, set
// by mistake: URLs and lists of keys have a colon, keys in base64 an equals sign.
func shownPath(path string) bool {
	const longest = 24 // of a name without a folder; keys are longer
	return !strings.ContainsAny(path, ":@+=") && (len(path) <= longest || strings.HasPrefix(path, "/") || strings.HasPrefix(path, "."))
}
