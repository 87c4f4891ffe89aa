package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// prefix begins the names that only sluice uses.
const prefix = "SLUICE_"

// Unknown returns problems with the names of variables, each with what to do:
// names that begin with SLUICE_ in any case and are not known, and names that
// look like a misspelling of a known one. Ignored, they would run sluice with
// another setting than was meant. No problem shows a value.
func Unknown(environ map[string]string) (problems []string) {
	known := Variables()
	for _, name := range slices.Sorted(maps.Keys(environ)) {
		if environ[name] == "" || slices.Contains(known, name) {
			continue
		}
		upper := strings.ToUpper(name)
		hint := ""
		if strings.HasPrefix(upper, prefix) && !serviceLink().MatchString(name) {
			hint = suggestion(upper, known)
		} else if i := slices.IndexFunc(known, func(k string) bool { return misspelt(upper, k) }); i >= 0 {
			hint = "did you mean " + known[i] + "?"
		}
		if hint != "" {
			problems = append(problems, "unknown variable "+name+"; "+hint)
		}
	}
	return problems
}

// serviceLink matches the variables that Kubernetes sets in every container for a
// service named sluice or sluice-…:
// https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
var serviceLink = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^SLUICE_(?:[A-Z0-9_]+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)$`)
})

// suggestion returns the variable that was most likely meant.
func suggestion(unknown string, known []string) string {
	bare := func(name string) string { return strings.TrimPrefix(name, prefix) }
	nearest := slices.MinFunc(known, func(a, b string) int { return distance(bare(unknown), bare(a)) - distance(bare(unknown), bare(b)) })
	if 2*distance(bare(unknown), bare(nearest)) > len(bare(unknown)) {
		ours := slices.DeleteFunc(slices.Clone(known), func(k string) bool { return !strings.HasPrefix(k, prefix) })
		return "there are " + strings.Join(slices.Sorted(slices.Values(ours)), ", ")
	}
	return "did you mean " + nearest + "?"
}

// misspelt reports whether a name differs from a known one by one edit, or in
// underscores. It compares only with names that no other software is likely to
// use: DATABASE_URI and SNS_URL may be another program's, SLUCIE_MODEL is not.
func misspelt(name, known string) bool {
	const long = 15
	bare := func(s string) string { return strings.ReplaceAll(s, "_", "") }
	return (len(bare(known)) >= long || strings.HasPrefix(known, prefix)) && distance(bare(name), bare(known)) <= 1
}

// insteadOf returns a question for the problem of a variable that is not set: a
// variable of nearly the same name is set.
func insteadOf(environ map[string]string, missing string) string {
	for _, name := range slices.Sorted(maps.Keys(environ)) {
		if environ[name] != "" && distance(strings.ToUpper(name), missing) <= 1 {
			return fmt.Sprintf(" (%s is set: did you mean %s?)", name, missing)
		}
	}
	return ""
}

// distance returns how many edits turn a into b: insert, delete or replace a
// letter, or swap two neighbours (the optimal string alignment distance).
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		for j := range rows[i] {
			if i == 0 || j == 0 {
				rows[i][j] = i + j
				continue
			}
			replaced := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				replaced++
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, replaced)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
