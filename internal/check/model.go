package check

import (
	"slices"
	"strings"

	"example.com/owner/sluice/internal/model"
)

// Models lists which values the models of a queue store as they were sent.
func Models(set *model.Set) (f Findings) {
	for _, m := range set.Models {
		found := Model(m)
		for i := range found {
			if len(set.Models) > 1 {
				found[i].What = m.Name + ": " + found[i].What
			}
		}
		f = append(f, found...)
	}
	return f
}

// Model does that for one model. JSON can hold anything, and no
// rule of a model looks inside it.
func Model(m *model.Model) (f Findings) {
	addresses := slices.Concat(m.Raw(model.TypeIP), m.Raw(model.TypeEmail))
	if addresses != nil {
		f.Add(OK, "masks", "address_raw", "", "addresses that are stored in clear, because the model says personal: false: %s", strings.Join(addresses, ", "))
	}
	if raw := m.Raw(model.TypeJSON); raw != nil && len(m.Personal()) > 0 {
		f.Add(Warning, "masks", "json_raw", "leave it out of the model, or make sure that it holds nothing personal; read what is needed by a path of its own",
			"%s is JSON and is stored as it was sent, with any personal value in it: the model masks fields, not parts of one", strings.Join(raw, ", "))
	}
	if raw := slices.Concat(m.Raw(model.TypeText), m.Raw(model.TypeBase64)); raw != nil {
		f.Add(OK, "masks", "text_raw", "", "text and bytes that are stored as they were sent, because the model does not call them personal: %s", strings.Join(raw, ", "))
	}
	return f
}
