"""Numbers in words, as PyPI's num2words and ICU's rule-based number format (CLDR's RBNF) have them.

    spell.py < NUMBERS

One number a line in, one line a number, language and source out: `SOURCE LANGUAGE NUMBER<tab>WORDS`. `icu zh-count` is how
Chinese counts things (the rule set spellout-cardinal-alternate2).
"""

import sys

from icu import Locale, RuleBasedNumberFormat, URBNFRuleSetTag
from num2words import num2words

RULES = {
    "en": ("en", "%spellout-cardinal-verbose"),
    "id": ("id", "%spellout-cardinal"),
    "vi": ("vi", "%spellout-cardinal"),
    "zh": ("zh", "%spellout-cardinal"),
    "zh-count": ("zh", "%spellout-cardinal-alternate2"),
}


def spellers():
    for name, (locale, rules) in RULES.items():
        speller = RuleBasedNumberFormat(URBNFRuleSetTag.SPELLOUT, Locale(locale))
        speller.setDefaultRuleSet(rules)
        yield f"icu {name}", speller.format
    for language in ("en", "id", "vi"):
        yield f"num2words {language}", lambda number, language=language: num2words(number, lang=language)


def main():
    numbers = [int(line) for line in sys.stdin]
    for name, spell in spellers():
        for number in numbers:
            print(f"{name} {number}\t{spell(number)}")


if __name__ == "__main__":
    main()
