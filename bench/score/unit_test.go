package score

import "testing"

func TestNumberUnits(t *testing.T) {
	check(t, Number, []row{
		{"4 cm²", "4 cm^2", 1}, {"5 USD", "$5", 1}, {"5 USD", `\$5`, 1}, {"5 USD", "5 USD", 1}, {"5 USD", "5 dollars", 1}, {"60 km/h", "60", 1},
		{"60 km/h", "60 km / h", 1}, {"60 km/h", "60 m/s", 0}, {"60 km/h", "60 miles per hour", 0}, {"60 km/h", "60 mph", 0}, {"5 m^2", "5 m", 0},
		{"5 m^2", "5 cm^2", 0}, {"5 m^2", "5 square meters", 1}, {"5 cm^3", "5 cm^2", 0}, {"5 cm^3", "5 cubic centimeters", 1},
		{"9.8 m/s^2", "9.8 m/s²", 1}, {"9.8 m/s^2", "9.8", 1}, {"9.8 m/s^2", "9.8 meters per second squared", 1}, {"12 apples", "12 pears", 0},
		{"12 apples", "12 red apples", 1}, {"5 kg", "5 g", 0}, {"2 hours", "2 minutes", 0}, {"5 cm", "5cm", 1}, {"5", "5cm", 1}, {"60", "60 km/h", 1},
		{"5 m", "It is 5 km.", 0}, {"5 m", "It is 5 m.", 1}, {"5 m^2", "The area is 5 cm^2.", 0}, {"5 m^2", "The area is 5 m^2.", 1},
		{"5", "The area is 5 m^2.", 1}, {"5", "The area is 5 m².", 1}, {"5", "It moves at 5 m/s.", 1}, {"5", "It moves at 5 km/h then.", 1},
		{"20", "20 °C", 1}, {"20", "It is 20 °C.", 1}, {"20 °C", "20 degrees Celsius", 1}, {"20 °C", "20 °F", 0}, {"20 °C", "20", 1},
		{"1000000", "1 million", 1}, {"1500000", "1.5 million people", 1}, {"1500000", "It is 1.5 million.", 1}, {"1.5", "It is 1.5 million.", 0},
		{"5e-3", "5 x 10^-3", 1}, {"5e-3", "5×10⁻³", 1}, {"5e-3", "5e-3 m", 1}, {"5e-3", `5 \times 10^{-3}\ \mathrm{m}`, 1},
		{"6.022e23", "6.022 × 10²³ mol⁻¹", 1}, {"9.81", "g = 9.81 m/s²", 1}, {"9.81", "g is 9.81 m/s^2.", 1},
		{"9.81", "g is 9.81 meters per second squared.", 1}, {"9.81 m/s^2", "9.81 km/s^2", 0}, {"100", "100 N", 1}, {"100 N", "100 newtons", 1},
		{"100 N", "100 J", 0}, {"100", "The force is 100 N.", 1}, {"25", "25 °C", 1}, {"25", "25 degrees Celsius", 1}, {"25", "It is 25 °C outside", 1},
		{"25 °C", "25 °F", 0}, {"5 kg", "5 kilograms", 1}, {"5", "5 kg m/s", 1}, {"3 m/s", "3 meters per second", 1}, {"3 m/s", "3 m s^-1", 1},
		{"3 m/s", `3\,\text{m/s}`, 1}, {"3 m/s", `3 \frac{m}{s}`, 0}, {"12 cubic feet", "12 ft^3", 1}, {"12 cubic feet", "12 cubic inches", 0},
		{"12 square units", "12", 1}, {"12 square units", "12 units^2", 1}, {"2 hours", "2 hrs", 1}, {"2 hours", "2h", 1}, {"50 cents", "50 dollars", 0}, {"50 cents", "It is 50 cents.", 1}, {"50", "50 cents", 1}, {"50 cents", "50", 1}, {"50%", "50 per cent", 1},
		{"12 widgets", "12 widget", 1}, {"5 very big apples", "5", 1}, {"5 dollars", "5 euros", 0}, {"5 euros", "5 EUR", 1},
	})
}
