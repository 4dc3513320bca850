package admin

import (
	"strings"
	"testing"

	"lazaret/internal/mail"
)

// What is offered fits the place, and is only what somebody may see.
func TestComplete(t *testing.T) {
	l := ward(t)
	guest := mail.Principal{Name: "gina", Role: mail.Guest}
	for _, c := range []struct {
		who        mail.Principal
		line, want string
	}{
		{admin, "quar", "quarantine"}, {admin, "ver", "version"}, {admin, "help ver", "version"}, {admin, "zzz", ""},
		{admin, "quarantine se", "search"}, {admin, "QUARANTINE rel", "release"}, {admin, "quarantine odd x", ""},
		{admin, "quarantine search quarantine P", "Policy"}, {admin, "quarantine search sub", "subject subject-ends subject-is subject-not subject-starts"},
		{admin, "quarantine search state l", "leaving"}, {admin, "quarantine search order ex", "exit exit-desc"}, {admin, "quarantine search order=", ""},
		{admin, "quarantine release --q", "--quarantine"}, {admin, "quarantine release --quarantine Vi", "Virus"}, {admin, "quarantine release --all send", "sender sender-ends sender-is sender-not sender-starts"},
		{admin, "quarantine move --from Policy --to M", "Mine"}, {admin, "quarantine copy --to ", "--all --to"}, {admin, "quarantine show 4", ""},
		{guest, "quarantine search quarantine ", ""}, {guest, "quarantine li", "list"},
	} {
		if got := strings.Join(l.complete(t.Context(), c.who, c.line), " "); got != c.want {
			t.Errorf("%s: %q gives %q, want %q", c.who.Name, c.line, got, c.want)
		}
	}
	if got := strings.Join(l.complete(t.Context(), mail.Principal{Role: mail.HelpDesk}, ""), " "); strings.Contains(got, "quarantine") && strings.Contains(got, "config") {
		t.Errorf("offered to who may not: %q", got)
	}
	for word, bad := range map[string]bool{"order": false, "state": false} { // what is offered is understood
		for _, w := range l.complete(t.Context(), admin, "quarantine search "+word+" ") {
			if out, status := run(t, l, admin, "quarantine search "+word+" "+w); (status != 0) != bad {
				t.Errorf("%s %s: %q", word, w, out)
			}
		}
	}
	values := map[string]string{"quarantine": "Policy", "gateway": "gw1", "gateway-not": "gw1", "mid": "41", "esa_mid": "541", "state": "held", "state-not": "held", "since": "2026-03-01", "until": "2026-03-09",
		"attachment-min": "1K", "attachment-max": "2K", "order": "size", "--limit": "1", "--after": "42"}
	for _, w := range conditionWords {
		line := w
		if w != "--total" && w != "--json" {
			v := values[w]
			if v == "" {
				v = "x"
			}
			line += " " + v
		}
		if out, status := run(t, l, admin, "quarantine search "+line); status != 0 && (!strings.HasPrefix(w, "body") || !strings.Contains(out, "search_text")) {
			t.Errorf("%s: %q", line, out)
		}
	}
}
