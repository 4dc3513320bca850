package manager

import (
	"testing"

	"lazaret/internal/mail"
	"lazaret/internal/tracking"
)

// Who may not look into a quarantine does not learn its name from what the
// gateways say, nor what it holds; an administrator sees all.
func TestWhereHidesQuarantines(t *testing.T) {
	dir, _ := place(t)
	m := open(t, dir)
	defer func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}()
	deposit(t, m, 1, "x")
	for role, want := range map[mail.Role]bool{mail.Administrator: true, mail.Operator: false, mail.Technician: false} {
		see, err := tracker{m}.seen(t.Context(), mail.Principal{Name: "u", Role: role})
		if err != nil {
			t.Fatal(err)
		}
		if see("Policy") != want || see("gone by now") != want {
			t.Errorf("%s: %v %v", role, see("Policy"), see("gone by now"))
		}
		f, err := tracker{m}.Where(t.Context(), mail.Principal{Name: "u", Role: role}, tracking.Query{Recipient: "a@", Limit: 5}, func(string) {})
		if err != nil || len(f.Rows) == 1 != want {
			t.Errorf("%s: %d rows, %v", role, len(f.Rows), err)
		}
	}
}
