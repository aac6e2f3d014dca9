import "swagger-ui-dist/swagger-ui.css";
import SwaggerUi from "swagger-ui-dist/swagger-ui-es-bundle.js";

SwaggerUi({
  dom_id: "#docs",
  url: "/api/v1/openapi.json",
  deepLinking: true,
  docExpansion: "list",
  tryItOutEnabled: true,
  validatorUrl: null,
});
