package check

import (
	"strings"

	"sluice/internal/model"
)

// Model says which values of a model are stored as they were sent. JSON can hold anything, and no
// rule of a model looks inside.
func Model(m *model.Model) (f Findings) {
	if len(m.Personal()) == 0 {
		return nil
	}
	if raw := m.Raw(model.TypeJSON); raw != nil {
		f.Add(Warning, "masks", "json_raw", "leave it out of the model, or see that it holds nothing personal; a sender can put what is needed of it into members of their own",
			"%s is JSON and is stored as it was sent, with all that is personal in it: the model masks fields, and no part of one", strings.Join(raw, ", "))
	}
	if raw := m.Raw(model.TypeText); raw != nil {
		f.Add(OK, "masks", "text_raw", "", "text that is stored as it was sent, since the model does not call it personal: %s", strings.Join(raw, ", "))
	}
	return f
}
