package admin

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"lazaret/internal/auth"
	"lazaret/internal/config"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/policy"
)

// Scanner is what the commands ask of the antivirus engine in force.
type Scanner interface {
	// AntivirusStatus says in lines what the engine is and knows; an error says
	// why mail is not scanned.
	AntivirusStatus(ctx context.Context) ([]string, error)
}

// ScanningCommands gives the commands about mail policies and antivirus, of a
// gateway. Changes are pending until commit.
func (f Configuration) ScanningCommands(s Scanner) []Command {
	return append(append(append(append(f.dictionaryCommands(), f.textCommands()...), f.contentCommands()...), f.dlpCommands()...), []Command{
		{Name: "policyconfig", Summary: "Change the mail policies",
			Usage: "policyconfig\npolicyconfig new TABLE NAME [PARAMETER=VALUE...]\npolicyconfig edit TABLE NAME|DEFAULT PARAMETER=VALUE...\npolicyconfig delete TABLE NAME\npolicyconfig move TABLE NAME POSITION\npolicyconfig list [TABLE]\npolicyconfig print TABLE NAME|DEFAULT\npolicyconfig match TABLE SENDER RECIPIENT\npolicyconfig filters ...   (see policyconfig filters)\n\nTABLE is inbound or outbound.  Parameters are sender, recipient (lists with commas: user@domain, user@, domain, .domain, ALL),\nantispam and antivirus (default, custom, off), spam_positive, spam_suspect, spam_unknown, and repaired, encrypted, unscannable, infected, unscanned (deliver, drop, quarantine; unscanned and spam_unknown also wait), unopened (archives that are not opened here, and damaged ones: default, engine, deliver, drop, quarantine), and ambiguous (default, deliver, drop, quarantine: mail that two readers would understand differently),\neach with VERDICT_tag (in front of the subject) and VERDICT_header (X-Name: value);\noutbreak (default, custom, off), outbreak_threshold (3), outbreak_viral_retention (1d), outbreak_other_retention (4h), outbreak_deliver_nonviral (on, off), outbreak_bypass (extensions with commas),\noutbreak_modify (level from which on delivered mail is changed; 0: never), outbreak_subject (with $threat_verdict, $threat_category, $threat_type, $threat_description, $threat_level), outbreak_headers (on, off);\nfile_analysis (default, custom, off), file_malicious, file_pending, file_unscannable, file_unscanned with _tag and _header;\nin outbound dlp (default, custom, off) and dlp_policy (names with commas).",
			Right: auth.ConfigChange, MaxArgs: 40, Run: f.policies},
		{Name: "policyconfig list", Summary: "List the mail policies", Usage: "policyconfig list [inbound|outbound]", Right: auth.ConfigView, MaxArgs: 1, Run: f.listPolicies},
		{Name: "policyconfig print", Summary: "Print all settings of a mail policy", Usage: "policyconfig print inbound|outbound NAME|DEFAULT", Right: auth.ConfigView, MaxArgs: 2, Run: f.printPolicy},
		{Name: "policyconfig match", Summary: "Say which mail policy a sender and recipient have", Usage: "policyconfig match inbound|outbound SENDER RECIPIENT", Right: auth.ConfigView, MaxArgs: 3, Run: f.matchPolicy},
		{Name: "antispamconfig", Summary: "Change where the anti-spam engine is",
			Usage: "antispamconfig [PARAMETER=VALUE...]\n\nrspamd (the URL of its normal worker; empty: none), rspamd_password, max_message_size (50M), timeout (1m)",
			Right: auth.ConfigChange, MaxArgs: 4, Run: f.antispam},
		{Name: "antivirusconfig", Summary: "Change where the antivirus engine is",
			Usage: "antivirusconfig [PARAMETER=VALUE...]\n\nclamd (the path of its socket, or host:port; empty: nothing is scanned), max_database_age (7d), max_message_size (25M), timeout (2m)",
			Right: auth.ConfigChange, MaxArgs: 4, Run: f.antivirus},
		{Name: "fileanalysisconfig", Summary: "Change where the analyser of attachments is",
			Usage: "fileanalysisconfig [PARAMETER=VALUE...]\n\nanalyser (the URL of its interface; empty: none), analyser_password (what it wants to see; asked for), ca_file (roots for its server; empty: those of the system),\nkind (of files that it is asked about, with commas: executable, document, compressed, pdf, html, ... or all), max_file_size (20M), timeout (30s).\nWhat is done with a message is a setting of its mail policy: policyconfig.",
			Right: auth.ConfigChange, MaxArgs: 6, Run: f.fileAnalysis},
		{Name: "senderauthconfig", Summary: "Change how senders are authenticated: SPF, DKIM, DMARC, ARC",
			Usage: "senderauthconfig [PARAMETER=VALUE...]\n\nverify (on, off), dmarc_fail (deliver, quarantine)",
			Right: auth.ConfigChange, MaxArgs: 2, Run: f.senderAuth},
		{Name: "antivirusstatus", Summary: "Ask the antivirus engine what it is and knows", Usage: "antivirusstatus", Right: auth.ConfigView, Run: antivirusStatus(s)},
	}...)
}

func (f Configuration) policies(ctx context.Context, c *Call) error {
	return c.actions(ctx,
		action{"new", "Create a policy.", f.newPolicy},
		action{"edit", "Change a policy.", f.editPolicy},
		action{"delete", "Remove a policy.", f.deletePolicy},
		action{"move", "Move a policy to another place.", f.movePolicy},
		action{"list", "List the policies.", f.listPolicies},
		action{"print", "Print all settings of a policy.", f.printPolicy},
		action{"filters", "Edit content filters.", f.contentFilters},
		action{"match", "Say which policy a sender and recipient have.", f.matchPolicy})
}

// askTable reads the name of a table.
func askTable(c *Call) (string, error) {
	answer, err := c.Ask("Which table, inbound or outbound?", config.Inbound)
	if err != nil {
		return "", err
	}
	switch t := strings.ToLower(answer); t {
	case config.Inbound, config.Outbound:
		return t, nil
	}
	return "", Usage("%q is not inbound or outbound", Clip(answer, 60))
}

// tablesAsked gives the table that is named, or both.
func tablesAsked(c *Call) ([]string, error) {
	if len(c.Args) == 0 {
		return []string{config.Inbound, config.Outbound}, nil
	}
	t, err := askTable(c)
	return []string{t}, err
}

// askPolicy reads the names of a table and of a policy.
func askPolicy(c *Call, def string) (table, name string, err error) {
	if table, err = askTable(c); err != nil {
		return "", "", err
	}
	name, err = c.Ask("Enter the name of the policy:", def)
	if strings.EqualFold(name, policy.Default) {
		name = policy.Default
	}
	return table, name, err
}

func findPolicy(conf *config.Config, table, name string) int {
	return slices.IndexFunc(conf.MailPolicies, func(p config.MailPolicy) bool { return p.Table == table && strings.EqualFold(p.Name, name) })
}

// policyRow gives a policy; DEFAULT is there even if the file does not have it.
func policyRow(conf *config.Config, table, name string) (config.MailPolicy, error) {
	if i := findPolicy(conf, table, name); i >= 0 {
		return conf.MailPolicies[i], nil
	}
	if name == policy.Default {
		return config.MailPolicy{Table: table, Name: name}, nil
	}
	return config.MailPolicy{}, errs.New(errs.NotFound, "there is no policy %s in the %s table", Plain(Clip(name, 60)), table)
}

// settable are rows and elements with parameters.
type settable interface {
	Parameters() []config.Parameter
	Set(name, value string) error
}

// fill sets parameters from NAME=VALUE words, or by questions about each.
func fill(c *Call, to settable) error {
	for c.Batch || len(c.Args) > 0 {
		if len(c.Args) == 0 {
			return nil
		}
		word := c.Take()
		name, value, ok := strings.Cut(word, "=")
		if !ok {
			return Usage("%q is not PARAMETER=VALUE", Clip(word, 60))
		}
		if isSecret(name) { // command lines are in the audit log
			return Usage("%s is asked for, and not taken from the command line; the command alone asks", name)
		}
		if err := to.Set(name, value); err != nil {
			return err
		}
		if len(c.Args) == 0 {
			return nil
		}
	}
	for _, p := range to.Parameters() {
		ask := c.Ask
		if isSecret(p.Name) {
			ask = func(question, _ string) (string, error) { return askSecret(c, question, p.Value) }
		}
		answer, err := ask("Enter "+p.Name+":", p.Value)
		if err != nil {
			return err
		}
		if answer != p.Value {
			if err := to.Set(p.Name, answer); err != nil {
				return err
			}
		}
	}
	return nil
}

// isSecret reports whether a parameter is not for screens and logs.
func isSecret(name string) bool { return strings.HasSuffix(strings.ToLower(name), "password") }

// askSecret asks without an echo; nothing keeps what there is.
func askSecret(c *Call, question, def string) (string, error) {
	answer, err := c.Password(question + " ")
	if err == nil && answer == "" {
		answer = def
	}
	return answer, err
}

func (f Configuration) newPolicy(_ context.Context, c *Call) error {
	table, name, err := askPolicy(c, "")
	if err != nil {
		return err
	}
	row := config.MailPolicy{Table: table, Name: name, Antivirus: "default"}
	if err := fill(c, &row); err != nil {
		return err
	}
	return f.changePolicies(c, "new "+table+" mail policy "+name, func(next *config.Config) error {
		if findPolicy(next, table, name) >= 0 || name == policy.Default {
			return errs.New(errs.Conflict, "there is a policy %s; use edit", Plain(Clip(name, 60)))
		}
		next.MailPolicies = append(next.MailPolicies, row)
		return nil
	})
}

func (f Configuration) changePolicies(c *Call, what string, change func(*config.Config) error) error {
	if err := f.Store.Change(c.Principal, what, change); err != nil {
		return err
	}
	c.Printf(pendingNote)
	return nil
}

func (f Configuration) editPolicy(_ context.Context, c *Call) error {
	table, name, err := askPolicy(c, policy.Default)
	if err != nil {
		return err
	}
	conf, _ := f.Store.Pending()
	row, err := policyRow(conf, table, name)
	if err != nil {
		return err
	}
	if err := fill(c, &row); err != nil {
		return err
	}
	return f.changePolicies(c, "edit "+table+" mail policy "+name, func(next *config.Config) error {
		switch i := findPolicy(next, table, name); {
		case i >= 0:
			next.MailPolicies[i] = row
		case name == policy.Default:
			next.MailPolicies = append(next.MailPolicies, row)
		default:
			return errs.New(errs.NotFound, "there is no policy %s in the %s table any more", Plain(Clip(name, 60)), table)
		}
		return nil
	})
}

func (f Configuration) deletePolicy(_ context.Context, c *Call) error {
	table, name, err := askPolicy(c, "")
	if err != nil {
		return err
	}
	if name == policy.Default {
		return Usage("DEFAULT stays; use edit")
	}
	return f.changePolicies(c, "delete "+table+" mail policy "+name, func(next *config.Config) error {
		if _, err := policyRow(next, table, name); err != nil {
			return err
		}
		i := findPolicy(next, table, name)
		next.MailPolicies = slices.Delete(next.MailPolicies, i, i+1)
		return nil
	})
}

// movePolicy puts a policy at a place of its table, from 1.
func (f Configuration) movePolicy(_ context.Context, c *Call) error {
	table, name, err := askPolicy(c, "")
	if err != nil {
		return err
	}
	answer, err := c.Ask("Enter its new place, from 1:", "1")
	if err != nil {
		return err
	}
	place, err := strconv.Atoi(answer)
	if err != nil || place < 1 || name == policy.Default {
		return Usage("a policy has a place from 1 on, and DEFAULT is the last")
	}
	return f.changePolicies(c, "move "+table+" mail policy "+name, func(next *config.Config) error {
		row, err := policyRow(next, table, name)
		if err != nil {
			return err
		}
		i := findPolicy(next, table, name)
		rest := slices.Delete(next.MailPolicies, i, i+1)
		at, seen := 0, 0
		for at < len(rest) && seen < place-1 {
			if rest[at].Table == table && rest[at].Name != policy.Default {
				seen++
			}
			at++
		}
		next.MailPolicies = slices.Insert(rest, at, row)
		return nil
	})
}

func (f Configuration) listPolicies(_ context.Context, c *Call) error {
	conf, _ := f.Store.Pending()
	tables, err := tablesAsked(c)
	if err != nil {
		return err
	}
	for i, table := range tables {
		if i > 0 {
			c.Printf("\n")
		}
		c.Printf("Mail policies, %s table:\n%3s  %-24s %-30s %-30s %-9s %-9s %-9s %s\n", table, "", "Policy", "Senders", "Recipients", "Antispam", "Antivirus", "Outbreak", "Files")
		n := 0
		for _, p := range conf.MailPolicies {
			if p.Table != table || p.Name == policy.Default {
				continue
			}
			n++
			c.Printf("%3d  %-24s %-30s %-30s %s\n", n, Plain(p.Name), people(p.Senders), people(p.Recipients), engines(conf, p))
			if err := c.Err(); err != nil {
				return err
			}
		}
		row, _ := policyRow(conf, table, policy.Default)
		c.Printf("%3s  %-24s %-30s %-30s %s\n", "", policy.Default, "all others", "all others", engines(conf, row))
	}
	return nil
}

// engines says in columns what a policy does with the engines.
func engines(conf *config.Config, p config.MailPolicy) string {
	word := func(set, engine string) string {
		if set == "" {
			set = "default"
		}
		if set == "default" && engine == "" {
			return "off"
		}
		return Plain(set)
	}
	return fmt.Sprintf("%-9s %-9s %-9s %s", word(p.Antispam, conf.Antispam.Rspamd), word(p.Antivirus, conf.Antivirus.Clamd),
		word(p.Outbreak, conf.Outbreak.Source), word(p.FileAnalysis, conf.FileAnalysis.Analyser))
}

// people shows a list of addresses in a column.
func people(list []string) string {
	if len(list) == 0 {
		return "any"
	}
	return Plain(Clip(strings.Join(list, ","), 30))
}

func (f Configuration) printPolicy(_ context.Context, c *Call) error {
	table, name, err := askPolicy(c, policy.Default)
	if err != nil {
		return err
	}
	conf, _ := f.Store.Pending()
	row, err := policyRow(conf, table, name)
	if err != nil {
		return err
	}
	for _, p := range row.Parameters() {
		c.Printf("%s=%s\n", p.Name, Plain(p.Value))
	}
	return nil
}

func (f Configuration) matchPolicy(_ context.Context, c *Call) error {
	table, err := askTable(c)
	if err != nil {
		return err
	}
	var who [2]mail.Address
	for i, question := range []string{"Enter the envelope sender, <> for none:", "Enter the recipient:"} {
		answer, err := c.Ask(question, "")
		if err != nil {
			return err
		}
		if i == 0 && (answer == "" || answer == "<>") {
			continue
		}
		if who[i], err = mail.ParseAddress(answer); err != nil {
			return Usage("%q is not an address", Clip(answer, 60))
		}
	}
	conf, _ := f.Store.Pending()
	t, err := conf.MailTable(table)
	if err != nil {
		return err
	}
	c.Printf("%s\n", t.Match(who[0], who[1]).Name)
	return nil
}

func (f Configuration) antivirus(_ context.Context, c *Call) error {
	conf, _ := f.Store.Pending()
	a := conf.Antivirus
	return f.element(c, "antivirus engine", &a, func(next *config.Config) { next.Antivirus = a })
}

func (f Configuration) antispam(_ context.Context, c *Call) error {
	conf, _ := f.Store.Pending()
	a := conf.Antispam
	return f.element(c, "anti-spam engine", &a, func(next *config.Config) { next.Antispam = a })
}

func (f Configuration) fileAnalysis(_ context.Context, c *Call) error {
	conf, _ := f.Store.Pending()
	a := conf.FileAnalysis
	return f.element(c, "analyser of attachments", &a, func(next *config.Config) { next.FileAnalysis = a })
}

func (f Configuration) senderAuth(_ context.Context, c *Call) error {
	conf, _ := f.Store.Pending()
	s := conf.SenderAuth
	return f.element(c, "sender authentication", &s, func(next *config.Config) { next.SenderAuth = s })
}

// element shows or changes the parameters of one element.
func (f Configuration) element(c *Call, what string, to settable, put func(*config.Config)) error {
	if c.Batch && len(c.Args) == 0 {
		for _, p := range to.Parameters() {
			c.Printf("%s=%s\n", p.Name, Plain(p.Value))
		}
		return nil
	}
	if err := fill(c, to); err != nil {
		return err
	}
	return f.changePolicies(c, what, func(next *config.Config) error {
		put(next)
		return nil
	})
}

func antivirusStatus(s Scanner) func(context.Context, *Call) error {
	return func(ctx context.Context, c *Call) error {
		lines, err := s.AntivirusStatus(ctx)
		if err != nil {
			return err
		}
		for _, l := range lines {
			c.Printf("%s\n", Plain(l))
		}
		return nil
	}
}
