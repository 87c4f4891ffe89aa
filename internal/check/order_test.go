package check_test

import (
	"strings"
	"testing"

	"example.com/owner/sluice/internal/check"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/postgres"
	"example.com/owner/sluice/internal/testing/pgtest"
)

// TestOrderOfModels: the rows of a batch are written in the order of the models, so that parents are to
// come first.
func TestOrderOfModels(t *testing.T) {
	const (
		lines    = "ALTER TABLE lines ADD CONSTRAINT of_order FOREIGN KEY (ref) REFERENCES orders"
		orders   = "; ALTER TABLE orders ADD CONSTRAINT of_user FOREIGN KEY (ref) REFERENCES users"
		circle   = "; ALTER TABLE users ADD CONSTRAINT last FOREIGN KEY (ref) REFERENCES lines"
		deferred = " DEFERRABLE INITIALLY DEFERRED"
	)
	for _, tt := range []struct {
		name, models, sql string
		want              []string
		says              string
	}{
		{"no foreign key", "lines orders users", "", nil, ""},
		{"parents first", "users orders lines", lines + orders, nil, ""},
		{"the child first", "lines users orders", lines, []string{"warning model_order"}, "(of_order), and the model lines comes before orders"},
		{"how to list them", "lines users orders", lines, []string{"warning model_order"}, "list the models in this order: users, orders, lines ("},
		{"a grandchild", "lines orders users", lines + orders, []string{"warning model_order", "warning model_order"}, "in this order: users, orders, lines ("},
		{"one that takes the rest", "lines orders users-rest", lines + orders, []string{"warning model_order", "warning model_order"}, "give users a when"},
		{"checked at commit", "lines orders users", lines + deferred, nil, ""},
		{"to itself", "lines orders users", "ALTER TABLE lines ADD FOREIGN KEY (ref) REFERENCES lines", nil, ""},
		{"in a circle", "users orders lines", lines + orders + circle, []string{"warning model_order"}, "let one of the foreign keys be DEFERRABLE"},
		{"of a child table", "also orders users", "ALTER TABLE items ADD FOREIGN KEY (ref) REFERENCES orders", []string{"warning model_order"}, ".items refer to those of "},
		{"of a child table to its parent", "also orders users", "", nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var all []*model.Model
			sql := []string{}
			for name := range strings.FieldsSeq(tt.models) {
				table, _, rest := strings.Cut(name, "-")
				text := "model: " + table + "\ntable: " + table + "\nkey: [id]\nfields: {id: {type: text, required: true}, ref: {type: text}}\ncolumns: {id: {type: text, from: id}, ref: {type: text, from: ref}}\n"
				if !rest {
					text += "when: {path: $.type, one_of: [" + table + "]}\n"
				}
				if table == "also" {
					text += "also: {items: {rows: '$.items[*]', fields: {of: {type: text}}, columns: {id: {type: text, from: id}, n: {type: smallint, meta: row_number}, ref: {type: text, from: of}}}}\n"
				}
				m := parse(t, text)
				all, sql = append(all, m), append(sql, m.DDL()...)
			}
			set, err := model.NewSet(all...)
			if err != nil {
				t.Fatal(err)
			}
			store, err := postgres.Open(pgtest.New(t, append(sql, tt.sql)...).URL, set.Tables())
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			f := check.Database(t.Context(), store, set, names)
			want(t, f, tt.want...)
			says(t, f, tt.says)
		})
	}
}
