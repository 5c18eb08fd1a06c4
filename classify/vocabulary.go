package classify

import "switchboard/schemas"

// Default is the vocabulary that comes with the program, English and German: what
// shops are asked most, and the words of people who are in a hurry or angry.
func Default() []Entry {
	return []Entry{
		{
			Name: "order_status", Category: "orders",
			Terms: terms(
				"order status", "status of my order", "status of the order", "where is my order", "where's my order",
				"where is my parcel", "where's my parcel", "where is my package", "where's my package", "track my order",
				"tracking number", "tracking code", "tracking link", "has my order shipped", "has not arrived",
				"hasn't arrived", "not arrived yet", "still waiting for my order", "delivery date", "delivery status",
				"bestellstatus", "status meiner bestellung", "status der bestellung", "stand meiner bestellung",
				"wo ist meine bestellung", "wo bleibt meine bestellung", "wo ist mein paket", "wo bleibt mein paket",
				"wann kommt meine bestellung", "wann kommt mein paket", "sendungsnummer", "sendungsverfolg*",
				"lieferstatus", "liefertermin", "noch nicht angekommen", "noch nicht geliefert",
			),
		},
		{
			Name: "warranty", Category: "warranty",
			Terms: terms(
				"warranty", "warranties", "guarantee", "guarantees", "guaranty", "under guarantee", "warranty claim",
				"garantie", "garantien", "garantiefall*", "garantieanspr*", "gewährleistung*",
			),
		},
		{
			Name: "troubleshooting", Category: "technical",
			Terms: terms(
				"troubleshoot*", "trouble shooting", "not working", "doesn't work", "does not work", "doesnt work",
				"stopped working", "won't start", "wont start", "won't turn on", "does not turn on", "doesn't turn on",
				"won't bind", "does not bind", "doesn't bind", "error message", "error code", "how do i fix",
				"fehlersuche", "fehlerbehebung", "fehlermeldung*", "fehlercode", "problembehebung",
				"funktioniert nicht", "funktioniert nicht mehr", "geht nicht mehr", "geht nicht an", "startet nicht",
				"springt nicht an", "lässt sich nicht einschalten", "lässt sich nicht binden", "bindet nicht",
			),
		},
		{
			Name: "complaint", Urgency: schemas.UrgencyHigh,
			Terms: terms(
				"complaint", "complaints", "complain", "complained", "complaining", "unacceptable", "outrageous",
				"ridiculous", "disgusted", "very disappointed", "extremely disappointed", "terrible service", "fed up",
				"beschwerde", "beschwerden", "beschweren", "beschwere", "reklamation", "reklamationen", "reklamier*",
				"inakzeptabel", "unverschämt*", "frechheit", "unzumutbar*", "sehr enttäuscht", "stinksauer",
			),
			Unless: terms("no complaint", "no complaints", "not a complaint", "not complaining", "can't complain",
				"cannot complain", "keine beschwerde", "keine reklamation", "kann mich nicht beschweren"),
		},
		{
			Name: "urgent", Urgency: schemas.UrgencyCritical,
			Terms: terms(
				"urgent", "urgently", "urgency", "asap", "a s a p", "as soon as possible", "emergency", "immediately",
				"right away", "time critical", "dringend", "dringende", "dringender", "dringendes", "dringlich*",
				"eilt", "eilig", "eilige", "sehr eilig", "notfall", "umgehend", "schnellstmöglich*", "so schnell wie möglich",
				"unverzüglich",
			),
			Unless: terms("not urgent", "isn't urgent", "not so urgent", "not that urgent", "not very urgent", "nothing urgent",
				"no urgency", "no rush", "no hurry", "no emergency", "not an emergency", "whenever you have time",
				"nicht dringend", "nicht so dringend", "nicht sehr dringend", "nichts dringendes", "nicht eilig",
				"nicht so eilig", "eilt nicht", "keine eile", "kein notfall", "hat zeit"),
		},
	}
}

// terms parses terms that are known to be right.
func terms(texts ...string) []Term {
	parsed := make([]Term, len(texts))
	for i, s := range texts {
		t, err := ParseTerm(s)
		if err != nil {
			panic("classify: " + s + ": " + err.Error())
		}
		parsed[i] = t
	}
	return parsed
}
