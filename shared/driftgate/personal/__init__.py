"""Personal data in texts: what is found gives way to a placeholder before a text is stored.

masking       the searches, for one text and for a whole column
patterns      what each kind looks like
check_digits  numbers that prove themselves: cards, IBANs
"""
