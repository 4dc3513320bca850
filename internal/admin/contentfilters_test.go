package admin

import (
	"strings"
	"testing"
)

// Content filters by lines and by questions; what makes no sense does not get in.
func TestContentFilterCommands(t *testing.T) {
	l, st := scanningSettings(t, engine{})
	wants(t, "new", first(run(t, l, admin, `policyconfig filters new inbound Offers 'condition=body-contains("free offer", 2)' 'condition=subject == "x"' match=any 'action=quarantine("Offers")' 'description=what nobody wants'`)), "Commit to put this in force.\n")
	wants(t, "more", first(run(t, l, admin, `policyconfig filters new inbound Second action=drop(); policyconfig filters new outbound Offers action=drop() active=no; policyconfig filters new inbound Third action=drop()`)), "Commit")
	wants(t, "move", first(run(t, l, admin, `policyconfig filters move inbound Third 1; policyconfig filters list`)),
		"Content filters, inbound table:\n  1  Third                          active    \n  2  Offers                         active    what nobody wants\n  3  Second                         active    \n\nContent filters, outbound table:\n  1  Offers                         inactive  \n")
	wants(t, "edit", first(run(t, l, admin, `policyconfig filters edit inbound offers condition= 'condition=rcpt-count > 5' active=no; policyconfig filters print inbound Offers`)),
		"description=what nobody wants\nactive=no\nmatch=any\ncondition=rcpt-count > 5\naction=quarantine(\"Offers\")\n")
	wants(t, "a policy", first(run(t, l, admin, `policyconfig edit inbound default content_filter=Offers,Second; policyconfig new inbound Lab recipient=lab@ content_filters=off; policyconfig print inbound DEFAULT`)), "content_filters=custom\ncontent_filter=Offers,Second\n")
	wants(t, "rename", first(run(t, l, admin, `policyconfig filters rename inbound Offers Ads; policyconfig print inbound DEFAULT`)), "content_filter=Ads,Second\n")
	wants(t, "uses", first(run(t, l, admin, `filters quarantines Offers`)), "Offers               inbound content filter Ads (inactive)\n")
	wants(t, "delete", first(run(t, l, admin, `policyconfig filters delete inbound Second; policyconfig print inbound DEFAULT`)), "content_filter=Ads\n")
	s := newScript("policyconfig", "filters", "new", "outbound", "Asked", "asked for", "", "", `subject == "a"`, "", "drop()", "", "", "")
	l.Shell(t.Context(), admin, s)
	wants(t, "asked", first(run(t, l, admin, "policyconfig filters print outbound Asked")), "description=asked for\nactive=yes\nmatch=all\ncondition=subject == \"a\"\naction=drop()\n")
	conf, _ := st.Pending()
	if sets, err := conf.ContentSets(); err != nil || len(sets) != 1 {
		t.Errorf("%v %v", sets, err)
	}
	for line, want := range map[string]string{
		`policyconfig filters new inbound Ads action=drop()`:                                "use edit",
		`policyconfig filters new inbound X`:                                                "it has no action",
		`policyconfig filters new inbound X action=drop() match=some`:                       "match is all or any",
		`policyconfig filters new inbound X action=drop() 'condition=subject'`:              "content filter X: condition 1: column 8: expected == or !=",
		`policyconfig filters new sideways X action=drop()`:                                 "is not inbound or outbound",
		`policyconfig filters new inbound X action=drop() colour=red`:                       "is not a parameter; known are description",
		`policyconfig filters edit inbound Nobody action=drop()`:                            "There is no inbound content filter Nobody",
		`policyconfig filters move inbound Ads 0`:                                           "from 1 on",
		`policyconfig filters rename inbound Ads Third`:                                     "There is a inbound content filter Third already",
		`policyconfig edit inbound Lab content_filter=Nobody`:                               `policy Lab: there is no inbound content filter "Nobody"`,
		`policyconfig edit inbound Lab content_filters=perhaps`:                             "content_filters is default, custom or off",
		`policyconfig filters edit inbound Ads action= 'action=quarantine("Unclassified")'`: "no filter can name the quarantine Unclassified",
	} {
		out, status := run(t, l, admin, line)
		if !strings.Contains(out, want) || status == 0 {
			t.Errorf("%s: %d %q, want %q", line, status, out, want)
		}
	}
}
