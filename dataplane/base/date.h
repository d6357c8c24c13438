/* Dates of the proleptic Gregorian calendar, years 0 to 9999. Any thread; pure. */
#ifndef SLUICE_DATE_H
#define SLUICE_DATE_H

#include <stdbool.h>
#include <stdint.h>

/* The number of two digits, or one above 99 if they are none. */
static inline uint32_t date_two_digits(const uint8_t *p)
{
	uint32_t a = (uint32_t)p[0] - '0', b = (uint32_t)p[1] - '0';

	return a < 10 && b < 10 ? a * 10 + b : 100;
}

/* Whether there is such a day. Any numbers. */
static inline bool date_valid(uint32_t year, uint32_t month, uint32_t day)
{
	static const uint8_t days[13] = {0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

	return month - 1 <= 11 && day - 1 < (month == 2 && leap ? 29u : days[month]);
}

/* Days from 1970-01-01 of a valid date, counted in years that begin in March, so that the leap day is the
 * last of its year. */
static inline int64_t date_days(uint32_t year, uint32_t month, uint32_t day)
{
	int64_t y = (int64_t)year - (month <= 2);
	int64_t month_from_march = (month + 9) % 12;
	int64_t day_of_year = (153 * month_from_march + 2) / 5 + day - 1;

	return y * 365 + y / 4 - y / 100 + y / 400 + day_of_year - 719468;
}

#endif
