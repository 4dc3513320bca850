package admin

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"lazaret/internal/config"
	"lazaret/internal/errs"
	"lazaret/internal/logs"
)

type engine struct{ err error }

func (e engine) AntivirusStatus(context.Context) ([]string, error) {
	return []string{"Engine: x\x1b[2J"}, e.err
}

func scanningSettings(t *testing.T, e engine) (*house, *config.Store) {
	t.Helper()
	conf := config.Defaults(config.Params{Role: config.Gateway, Hostname: "gw1.demo.example", Serial: "GATEWAY0001", IP: "127.0.0.1", SSHPort: 2222, SMTPPort: 2525, CPQPort: 7025})
	st := config.NewStore(filepath.Join(t.TempDir(), "config.xml"), conf, logs.DiscardAudit(), nil)
	f := Configuration{Store: st, FlushDNS: func() {}}
	return language(t, append(f.Commands(), f.ScanningCommands(e)...)...), st
}

// Mail policies by lines and by questions; what makes no sense does not get in.
func TestPolicyConfig(t *testing.T) {
	l, st := scanningSettings(t, engine{})
	wants(t, "engine", first(run(t, l, admin, "antivirusconfig clamd=/run/clamav/clamd.ctl max_database_age=3d; antivirusconfig")), "Commit", "max_database_age=3d\n")
	wants(t, "new", first(run(t, l, admin, "policyconfig new inbound Sales recipient=sales@,.sales.example infected=deliver 'infected_tag=[VIRUS]'; policyconfig new inbound Lab recipient=lab@ antivirus=off")), "Commit to put this in force.\n")
	wants(t, "default", first(run(t, l, admin, "policyconfig edit inbound default unscannable=drop")), "Commit")
	wants(t, "move", first(run(t, l, admin, "policyconfig move inbound Lab 1; policyconfig list inbound")),
		"  1  Lab                      any                            lab@                           off       off       off       off\n  2  Sales                    any                            sales@,.sales.example          off       custom    off       off\n     DEFAULT                  all others                     all others                     off       custom    off       off\n")
	wants(t, "print", first(run(t, l, admin, "policyconfig print inbound Sales")), "infected=deliver\ninfected_tag=[VIRUS]\n", "unscanned=wait\n")
	wants(t, "match", first(run(t, l, admin, "policyconfig match inbound <> LAB@x.example; policyconfig match outbound a@b.c sales@d.e")), "Lab\n", "DEFAULT\n")
	wants(t, "spam", first(run(t, l, admin, "antispamconfig rspamd=http://127.0.0.1:11333; antispamconfig; policyconfig edit inbound Sales spam_positive=drop spam_suspect_tag=[SPAM]; policyconfig list inbound")), "rspamd=http://127.0.0.1:11333\n", "sales@,.sales.example          custom    custom    off       off\n")
	wants(t, "unopened", first(run(t, l, admin, "policyconfig edit inbound Lab unopened=deliver unopened_tag=[NOT]; policyconfig print inbound Lab; policyconfig edit inbound Lab unopened=engine; policyconfig print inbound Lab; policyconfig edit inbound Lab unopened=default; policyconfig print inbound Lab")),
		"unopened=deliver\nunopened_tag=[NOT]\n", "unopened=engine\nunopened_tag=\n", "unopened=default\n")
	wants(t, "ambiguous", first(run(t, l, admin, "policyconfig edit inbound Lab ambiguous_tag=[ODD]; policyconfig print inbound Lab; policyconfig edit inbound Lab ambiguous=drop; policyconfig print inbound Lab; policyconfig print inbound Sales")),
		"ambiguous=quarantine\nambiguous_tag=[ODD]\n", "ambiguous=drop\nambiguous_tag=\n", "ambiguous=default\n")
	conf, _ := st.Pending()
	if err := conf.Check(); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"policyconfig new sideways X recipient=a@":              "is not inbound or outbound",
		"policyconfig new inbound Sales recipient=a@":           "use edit",
		"policyconfig new inbound DEFAULT antivirus=off":        "use edit",
		"policyconfig new inbound X recipient=a@b@c":            "is not user@domain",
		"policyconfig new inbound X":                            "for nobody in particular",
		"policyconfig new inbound X recipient=a@ infected":      "is not PARAMETER=VALUE",
		"policyconfig new inbound X recipient=a@ colour=blue":   "is not a parameter; known are sender",
		"policyconfig new inbound X recipient=a@ clean=drop":    "is not a parameter",
		"policyconfig edit inbound Lab infected=wait":           "only what is unscanned can wait",
		"policyconfig edit inbound Lab infected_header=To:x":    "begins with X-",
		"policyconfig edit inbound Lab ambiguous=wait":          "waiting changes nothing",
		"policyconfig edit inbound Lab unopened=wait":           "unopened: only what is unscanned can wait",
		"policyconfig edit inbound Lab unopened=hold":           "or engine",
		"policyconfig edit inbound Lab unopened_tag=x":          "unopened: action is deliver",
		"policyconfig edit inbound Lab ambiguous=hold":          "ambiguous: action is deliver",
		"policyconfig edit inbound Lab ambiguous_header=To:x":   "adds nothing",
		"policyconfig edit inbound Sales ambiguous_header=To:x": "begins with X-",
		"policyconfig edit inbound Lab ambiguous_colour=blue":   "is not a parameter",
		"policyconfig edit inbound Nobody infected=drop":        "there is no policy Nobody",
		"policyconfig delete inbound DEFAULT":                   "DEFAULT stays",
		"policyconfig delete outbound Sales":                    "there is no policy Sales in the outbound table",
		"policyconfig move inbound Lab 0":                       "from 1 on",
		"antivirusconfig clamd=relative":                        "path of a socket or host:port",
		"antivirusconfig timeout=0":                             "from 1s to 1h",
		"policyconfig edit inbound Lab spam_negative=drop":      "is not a parameter",
		"policyconfig edit inbound Lab spam_suspect=wait":       "can wait",
		"antispamconfig rspamd_password=secret":                 "is asked for",
		"antispamconfig rspamd=ftp://x":                         "rspamd is a URL",
		"antispamconfig rspamd=http://u:p@x":                    "rspamd is a URL",
		"antispamconfig rspamd=":                                "needs an engine",
		"antivirusconfig clamd=":                                "clamd is missing",
	} {
		out, _ := run(t, l, admin, line)
		if !strings.Contains(out, want) {
			t.Errorf("%s: %q, want %q", line, out, want)
		}
	}
	after, _ := st.Pending()
	if len(after.MailPolicies) != len(conf.MailPolicies) {
		t.Errorf("%+v", after.MailPolicies)
	}
	wants(t, "status", first(run(t, l, admin, "antivirusstatus")), "Engine: x")
	l, _ = scanningSettings(t, engine{errs.New(errs.Temporary, "it is away")})
	if out, _ := run(t, l, admin, "antivirusstatus"); !strings.Contains(out, "it is away") {
		t.Errorf("%q", out)
	}
}
